import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../src/package-root.js';
import { until } from './support.js';

/** A port of loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

export interface Certificates {
  ca: string;
  cert: string;
  key: string;
}

/** An authority and a certificate for localhost and 127.0.0.1, made by openssl. */
export function makeCertificates(directory: string): Certificates {
  const path = (name: string) => join(directory, name);
  const run = (...args: string[]) => {
    const { status, stderr } = spawnSync('openssl', args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  run('req', '-x509', ...key, '-subj', '/CN=Test CA', '-keyout', path('ca.key'), '-out', path('ca.pem'));
  run('req', ...key.slice(0, -2), '-subj', '/CN=localhost', '-keyout', path('key.pem'), '-out', path('csr.pem'));
  writeFileSync(path('ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n');
  run(
    ...['x509', '-req', '-in', path('csr.pem'), '-CA', path('ca.pem'), '-CAkey', path('ca.key'), '-days', '2'],
    ...['-CAcreateserial', '-extfile', path('ext'), '-out', path('cert.pem')],
  );
  return { ca: path('ca.pem'), cert: path('cert.pem'), key: path('key.pem') };
}

interface Way {
  transport: 'tcp' | 'tls' | 'udp';
  port: number;
  certificates: Certificates;
}

interface ReceiverKind {
  /** Undefined where the program isn't here. */
  program: string | undefined;
  missing: string;
  configure(way: Way, directory: string): string;
  arguments(directory: string): string[];
  environment: Record<string, string>;
}

/** Where native/setup.mjs unpacks the two, which can't be installed beside each other. */
const unpackedTo = (name: string): string => join(packageRoot(), 'build', name);

/** A library folder of an unpacked package, whatever the processor. */
const libraries = (root: string): string =>
  ['x86_64-linux-gnu', 'aarch64-linux-gnu', 'syslog-ng']
    .flatMap((folder) => [join(root, 'usr/lib', folder), join(root, 'lib', folder)])
    .join(':');

/** The program as it is installed, else as it is unpacked, with what that needs; undefined where none of them runs. */
function find(
  name: string,
  version: string,
): { program: string; root: string; environment: Record<string, string> } | undefined {
  return [
    { program: join('/usr/sbin', name), root: '/', environment: {} },
    {
      program: join(unpackedTo(name.replace(/d$/, '')), 'usr/sbin', name),
      root: unpackedTo(name.replace(/d$/, '')),
      environment: { LD_LIBRARY_PATH: libraries(unpackedTo(name.replace(/d$/, ''))) },
    },
  ].find(
    ({ program, environment }) =>
      existsSync(program) && spawnSync(program, [version], { env: { ...process.env, ...environment } }).status === 0,
  );
}

/** The only entry of a folder, for paths with a version or a processor in them. */
const only = (folder: string): string =>
  join(folder, readdirSync(folder).filter((name) => /^[\d.]+$|linux-gnu$/.test(name))[0]!);

const rsyslog = find('rsyslogd', '-v');
const syslogNg = find('syslog-ng', '--version');

const RSYSLOG_INPUTS: Record<Way['transport'], (way: Way) => string> = {
  tcp: ({ port }) => `module(load="imtcp") input(type="imtcp" address="127.0.0.1" port="${port}")`,
  tls: ({ port, certificates: { ca, cert, key } }) =>
    `global(DefaultNetstreamDriverCAFile="${ca}" DefaultNetstreamDriverCertFile="${cert}" DefaultNetstreamDriverKeyFile="${key}")
     module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
     input(type="imtcp" address="127.0.0.1" port="${port}")`,
  udp: ({ port }) => `module(load="imudp") input(type="imudp" address="127.0.0.1" port="${port}")`,
};

const SYSLOG_NG_SOURCES: Record<Way['transport'], (way: Way) => string> = {
  tcp: ({ port }) => `syslog(transport("tcp") ip("127.0.0.1") port(${port}))`,
  tls: ({ port, certificates: { ca, cert, key } }) =>
    `syslog(transport("tls") ip("127.0.0.1") port(${port})
       tls(key-file("${key}") cert-file("${cert}") ca-file("${ca}") peer-verify(required-trusted)))`,
  udp: ({ port }) => `syslog(transport("udp") ip("127.0.0.1") port(${port}))`,
};

/** The two that Debian has. Each writes what it received to `out`: MSGID, a tab, the message. */
export const RECEIVERS: Readonly<Record<'rsyslog' | 'syslog-ng', ReceiverKind>> = {
  rsyslog: {
    program: rsyslog?.program,
    missing: 'rsyslog and rsyslog-gnutls: node native/setup.mjs --test unpacks them',
    environment: rsyslog?.environment ?? {},
    configure: (way, directory) => `
      global(localHostname="receiver" net.enableDNS="off" workDirectory="${directory}" maxMessageSize="256k")
      ${RSYSLOG_INPUTS[way.transport](way)}
      template(name="plain" type="string" string="%msgid%\\t%msg%\\n")
      action(type="omfile" file="${join(directory, 'out')}" template="plain")
    `,
    arguments: (directory) => [
      ...['-n', '-f', join(directory, 'config'), '-i', join(directory, 'pid')],
      ...(rsyslog!.root === '/' ? [] : ['-M', join(only(join(rsyslog!.root, 'usr/lib')), 'rsyslog')]),
    ],
  },
  'syslog-ng': {
    program: syslogNg?.program,
    missing: 'syslog-ng-core: node native/setup.mjs --test unpacks it',
    environment: syslogNg?.environment ?? {},
    configure: (way, directory) => `@version: 3.38
      options { keep-hostname(yes); log-msg-size(262144); };
      source s { ${SYSLOG_NG_SOURCES[way.transport](way)}; };
      destination d { file("${join(directory, 'out')}" template("\${MSGID}\\t\${MSG}\\n") flush-lines(1)); };
      log { source(s); destination(d); flags(flow-control); };
    `,
    arguments: (directory) => [
      '-F',
      ...['-f', join(directory, 'config'), '-R', join(directory, 'persist'), '-p', join(directory, 'pid')],
      ...['-c', join(directory, 'control'), '--no-caps'],
      ...(syslogNg!.root === '/' ? [] : [`--module-path=${only(join(syslogNg!.root, 'usr/lib/syslog-ng'))}`]),
    ],
  },
};

/** A receiver as a plain process on loopback, that can be killed and started again. */
export class Receiver {
  readonly directory = mkdtempSync(join(tmpdir(), 'imds-receiver-'));
  #child: ChildProcess | undefined;
  #said = '';

  constructor(
    private readonly kind: ReceiverKind,
    private readonly way: Way,
  ) {
    mkdirSync(this.directory, { recursive: true });
    writeFileSync(join(this.directory, 'config'), kind.configure(way, this.directory));
  }

  async start(): Promise<void> {
    rmSync(join(this.directory, 'pid'), { force: true });
    const child = spawn(this.kind.program!, this.kind.arguments(this.directory), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.kind.environment },
    });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece: Buffer) => (this.#said += piece));
    this.#child = child;
    await until(() => {
      if (child.exitCode !== null) throw new Error(`the receiver ended: ${this.#said}`);
      return isListening(this.way);
    }, `the receiver listens on ${this.way.transport} port ${this.way.port}`).catch((error: Error) => {
      throw new Error(`${error.message}: ${this.#said}`);
    });
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  async remove(): Promise<void> {
    await this.stop('SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** MSGID and message of all that arrived, also before it was killed. */
  received(): [id: string, message: string][] {
    const file = join(this.directory, 'out');
    if (!existsSync(file)) return [];
    const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => [line.slice(0, line.indexOf('\t')), line.slice(line.indexOf('\t') + 1).trim()]);
  }
}

/** By the kernel's tables: a connection for trying would be one more for the receiver. */
function isListening({ transport, port }: Way): boolean {
  const table = readFileSync(transport === 'udp' ? '/proc/net/udp' : '/proc/net/tcp', 'latin1');
  const state = transport === 'udp' ? '07' : '0A';
  const address = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return table.split('\n').some((line) => {
    const [, local, , found] = line.trim().split(/\s+/);
    return local === address && found === state;
  });
}
