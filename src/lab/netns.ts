import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { captureError, type TracerError } from '../errors.js';
import { startOfLiving } from '../process/living.js';

/**
 * Two network namespaces joined by a veth pair: in the one stand the clients, in the other the metadata addresses.
 *
 * Both ends are made inside the namespaces and neither has another interface or a default route, so nothing that is
 * sent there can leave the machine, and the machine's own namespace never gets an interface, an address or a route.
 */
export interface LabNetwork {
  /** Names as `ip netns` knows them. */
  readonly client: string;
  readonly server: string;
  /** Deletes both namespaces. May be called again; errors only where a namespace is still there afterwards. */
  remove(): Promise<void>;
}

/** Where iproute2 keeps its named namespaces (NETNS_RUN_DIR in its namespace.h). */
const NAMED_NAMESPACES = '/var/run/netns';

/** Owner's pid and start time are in the name, so that a namespace tells by itself whether its owner is gone. */
const NAME = /^imds-lab-(\d{1,10})-(\d{1,20})-[0-9a-f]{8}-(client|server)$/;

/** The two ends. 198.18.0.0/15 (RFC 2544) and 2001:db8::/32 (RFC 3849) are nobody's, and good for testing. */
const LINK = {
  4: { client: '198.18.0.1', server: '198.18.0.2', prefix: 30, host: 32 },
  6: { client: '2001:db8::1', server: '2001:db8::2', prefix: 64, host: 128 },
} as const;

/**
 * Creates a lab network whose server side holds `addresses` (IPv4 and IPv6 text).
 * @throws TracerError exit status 3: not root, no `ip`, or the kernel or container refuses.
 */
export async function createNetwork(addresses: readonly string[]): Promise<LabNetwork> {
  const stem = `imds-lab-${process.pid}-${startOfLiving(process.pid)}-${randomBytes(4).toString('hex')}`;
  const client = `${stem}-client`;
  const server = `${stem}-server`;
  let removal: Promise<void> | undefined;
  const remove = () => {
    removal ??= deleteNamespaces([client, server]);
    return removal;
  };
  try {
    await ip(['netns', 'add', client]);
    await ip(['netns', 'add', server]);
    await ip(['-n', server, '-batch', '-'], serverCommands(addresses, client));
    await ip(['-n', client, '-batch', '-'], clientCommands(addresses));
  } catch (error) {
    await remove().catch(() => {});
    throw error;
  }
  return { client, server, remove };
}

/**
 * Deletes the namespaces of labs whose process was killed before it could do so itself. A pid that is used again by
 * another process does not keep them: its start time differs.
 * @returns the names that were deleted.
 */
export async function cleanStale(): Promise<string[]> {
  const stale = namedNamespaces().filter((name) => {
    const owner = NAME.exec(name);
    return owner !== null && startOfLiving(Number(owner[1])) !== Number(owner[2]);
  });
  await deleteNamespaces(stale);
  return stale;
}

/** The argv that runs `argv` inside a named namespace. `ip` replaces itself, so the pid that was spawned is the command's. */
export const inNamespace = (name: string, argv: readonly string[]): [string, ...string[]] => [
  'ip',
  'netns',
  'exec',
  name,
  ...argv,
];

/** `PATH` as given, and after it the folders where `ip` is, which a service manager's or a user's `PATH` may lack. */
export const toolPath = (): string => `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/bin:/sbin:/bin`;

function serverCommands(addresses: readonly string[], peer: string): string[] {
  return [
    'link set lo up',
    `link add imds0 type veth peer name imds0 netns ${peer}`,
    'link set imds0 up',
    ...families(addresses).map((family) => addressCommand(LINK[family].server, LINK[family].prefix)),
    ...addresses.map((address) => addressCommand(address, LINK[familyOf(address)].host)),
  ];
}

function clientCommands(addresses: readonly string[]): string[] {
  return [
    'link set lo up',
    'link set imds0 up',
    ...families(addresses).map((family) => addressCommand(LINK[family].client, LINK[family].prefix)),
    ...addresses.map((address) => {
      const link = LINK[familyOf(address)];
      return `route add ${address}/${link.host} via ${link.server} dev imds0`;
    }),
  ];
}

// Duplicate address detection would keep an IPv6 address unusable for a second; there is nobody to collide with.
const addressCommand = (address: string, prefix: number): string =>
  `address add ${address}/${prefix} dev imds0${isIPv6(address) ? ' nodad' : ''}`;

const familyOf = (address: string): 4 | 6 => (isIPv6(address) ? 6 : 4);
const families = (addresses: readonly string[]): (4 | 6)[] => [...new Set(addresses.map(familyOf))];

function namedNamespaces(): string[] {
  try {
    return readdirSync(NAMED_NAMESPACES);
  } catch {
    return []; // never used on this machine
  }
}

async function deleteNamespaces(names: readonly string[]): Promise<void> {
  for (const name of names) {
    try {
      await ip(['netns', 'delete', name]);
    } catch (error) {
      if (namedNamespaces().includes(name)) throw error;
    }
  }
}

async function ip(args: readonly string[], batch?: readonly string[]): Promise<void> {
  if (process.geteuid?.() !== 0) {
    throw captureError(
      'IMDS_LAB_NOT_ROOT',
      'the lab makes network namespaces, which only root may do',
      'run it with sudo',
    );
  }
  return new Promise((resolve, reject) => {
    const options = { env: { ...process.env, PATH: toolPath() }, timeout: 10_000 };
    const child = execFile('ip', args, options, (error, _stdout, stderr) => {
      if (error) reject(ipFailure(args, error, stderr));
      else resolve();
    });
    child.stdin?.on('error', () => {}); // `ip` may have ended before it read everything: its exit status tells
    child.stdin?.end(batch?.map((line) => `${line}\n`).join(''));
  });
}

function ipFailure(args: readonly string[], error: Error & { code?: unknown }, stderr: string): TracerError {
  if (error.code === 'ENOENT' || error.code === 'EACCES') {
    return captureError(
      'IMDS_LAB_NO_IP',
      'the lab needs the command `ip`, which is not installed or may not be executed',
      'install the package iproute2 (dnf and yum: iproute)',
    );
  }
  const why = stderr.trim().replace(/\s*\n\s*/g, '; ') || error.message;
  return captureError(
    'IMDS_LAB_NETNS',
    `the lab's network namespaces can't be made: \`ip ${args.join(' ')}\` said: ${why}`,
    'it needs CAP_SYS_ADMIN and CAP_NET_ADMIN and a kernel with veth; a container must be privileged',
  );
}
