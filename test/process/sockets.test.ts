import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readlinkSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openNamespaceSockets } from '../../src/capture/socket-diag.js';
import { ProcReader } from '../../src/process/proc.js';
import { findInode, socketTables } from '../../src/process/socket-tables.js';
import { SocketOwners } from '../../src/process/sockets.js';
import {
  addTo,
  type Child,
  CleanUp,
  isRoot,
  kernelProcess,
  NO_HURRY,
  PYTHON,
  sleep,
  start,
  statLine,
  tree,
} from './support.js';

const cleanUp = new CleanUp();
afterEach(() => cleanUp.run());

/** Accepts whatever connects, and keeps it. */
const SERVER = (address: string, port = 8080): string => `
import socket
s = socket.create_server((${JSON.stringify(address)}, ${port}), family=socket.AF_INET6 if ":" in ${JSON.stringify(address)} else socket.AF_INET)
print("ready", flush=True)
kept = []
while True: kept.append(s.accept())`;

/** Connects, says from which port, and does what it is told: a line of Python at a time. */
const CLIENT = (address: string, localPort = 0, family = 'AF_INET', port = 8080): string => `
import os, socket, sys
s = socket.socket(socket.${family})
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if ${localPort}: s.bind(("", ${localPort}))
s.connect((${JSON.stringify(address)}, ${port}))
print(s.getsockname()[1], flush=True)
for line in sys.stdin: exec(line); sys.stdout.flush()`;

/** SO_COOKIE's companion: the cgroup v2 tree of this host, where a test may make groups. */
const cgroupMount = / \/ (\S+) .* - cgroup2 /.exec(readFileSync('/proc/self/mountinfo', 'latin1'))?.[1];

describe('the tables of /proc/net', () => {
  it.each([
    [
      '127.0.0.1 and 10.1.2.3',
      { localAddress: '127.0.0.1', localPort: 8080, remoteAddress: '10.1.2.3', remotePort: 80 },
      [
        ['tcp', ' 0100007F:1F90 0302010A:0050 '],
        ['tcp6', ' 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000302010A:0050 '],
      ],
    ],
    [
      'IPv6',
      { localAddress: 'fe80::1%eth0', localPort: 1, remoteAddress: 'fd00:ec2::254', remotePort: 80 },
      [['tcp6', ' 000080FE000000000000000001000000:0001 C20E00FD000000000000000054020000:0050 ']],
    ],
    [
      'mapped addresses',
      { localAddress: '::ffff:1.2.3.4', localPort: 1, remoteAddress: '::ffff:102:304', remotePort: 2 },
      [
        ['tcp', ' 04030201:0001 04030201:0002 '],
        ['tcp6', ' 0000000000000000FFFF000004030201:0001 0000000000000000FFFF000004030201:0002 '],
      ],
    ],
    ['what is no address', { localAddress: 'x', localPort: 1, remoteAddress: '1:2', remotePort: 2 }, []],
  ])('%s', (_, addresses, expected) => {
    expect(socketTables(addresses).map(({ file, needle }) => [file, needle.toString()])).toEqual(expected);
  });

  it('takes the line that has an inode, whole or cut', () => {
    const ends = '   1: 0100007F:1F90 0302010A:0050';
    const closed = `${ends} 06 00000000:00000000 03:00000A5E 00000000     0        0 0 3 00000000aa\n`;
    const open = `${ends} 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1 00000000bb 20 4 30 10 -1\n`;
    const needle = Buffer.from(' 0100007F:1F90 0302010A:0050 ');
    expect(findInode(Buffer.from(closed), needle)).toBeUndefined();
    expect(findInode(Buffer.from(closed + open), needle)).toBe(4711);
    expect(findInode(Buffer.from(open.slice(0, 60)), needle)).toBeUndefined();
    expect(findInode(Buffer.from(' 0100007F:1F90 0302010A:0050 junk\n'), needle)).toBeUndefined();
  });
});

/** Both ways to ask a namespace: the kernel gives the same answers. */
const WAYS = [
  ['by sock_diag', openNamespaceSockets],
  ['by the tables in /proc', undefined],
] as const;

/** Search results of real namespaces, which it lets go of when the test is over. */
function ownersOf(open: (typeof WAYS)[number][1], proc = new ProcReader('/proc')): SocketOwners {
  const owners = new SocketOwners(proc, NO_HURRY, open);
  cleanUp.add(() => owners.close());
  return owners;
}

describe.each(WAYS)('SocketOwners in this namespace, %s', (_way, open) => {
  const owners = new SocketOwners(new ProcReader('/proc'), NO_HURRY, isRoot ? open : undefined);
  afterAll(() => owners.close());
  const connect = async (family: string, server: string, client: string): Promise<[Child, number]> => {
    const listener = start(cleanUp, PYTHON, ['-c', SERVER(server, 0).replace('"ready"', 's.getsockname()[1]')]);
    const port = Number(await listener.line(0));
    const child = start(cleanUp, PYTHON, ['-c', CLIENT(client, 0, family, port)]);
    return [child, port];
  };

  it.each([
    ['IPv4', 'AF_INET', '127.0.0.1', '127.0.0.1', '127.0.0.1'],
    ['IPv6', 'AF_INET6', '::1', '::1', '::1'],
    ['an IPv4 connection of an IPv6 socket', 'AF_INET6', '127.0.0.1', '::ffff:127.0.0.1', '127.0.0.1'],
  ])('finds who holds a connection: %s', async (_, family, server, client, address) => {
    const [child, remotePort] = await connect(family, server, client);
    const localPort = Number(await child.line(0));
    const addresses = { localAddress: address, localPort, remoteAddress: address, remotePort };
    const { startBootNs } = kernelProcess(child.pid);
    expect(owners.find(addresses, 0n, 0n)).toEqual({
      holder: { pid: child.pid, startTicks: Number(startBootNs / 10_000_000n) },
    });
  });

  it('names the oldest of those who share a socket, and says so', async () => {
    const [child, remotePort] = await connect('AF_INET', '127.0.0.1', '127.0.0.1');
    const localPort = Number(await child.line(0));
    const addresses = { localAddress: '127.0.0.1', localPort, remoteAddress: '127.0.0.1', remotePort };
    await sleep(30); // the child shall start in another clock tick
    child.tell('pid = os.fork(); print(pid) if pid else __import__("time").sleep(60)');
    const fork = Number(await child.line(1));
    cleanUp.add(() => process.kill(fork, 'SIGKILL'));
    expect(owners.find(addresses, 0n, 0n)).toMatchObject({ holder: { pid: child.pid }, limits: 'shared' });
    child.tell('s.close(); print("closed")');
    await child.line(2);
    const heir = owners.find(addresses, 0n, 0n);
    expect(heir).toMatchObject({ holder: { pid: fork } });
    expect(heir).not.toHaveProperty('limits');
  });

  it('says why there is none', () => {
    const none = { localPort: 1, remoteAddress: '198.51.100.9', remotePort: 80 };
    expect(owners.find({ ...none, localAddress: '127.0.0.1' }, 0n, 0n)).toEqual({ reason: 'exited' });
  });
});

describe('a namespace whose known processes are all gone (recorded tree)', () => {
  it('is looked at again through those that it has now', () => {
    const line =
      '   1: 0302010A:0001 0302010A:0050 01 00000000:00000000 00:00000000 00000000     0        0 77 1 00000000aa 20 4\n';
    const root = tree(cleanUp, { '7/ns/net': '-> net:[1]' });
    const owners = new SocketOwners(new ProcReader(root), NO_HURRY);
    const addresses = { localAddress: '10.1.2.3', localPort: 1, remoteAddress: '10.1.2.3', remotePort: 80 };
    expect(owners.find(addresses, 0n, 1n)).toEqual({ reason: 'exited' });
    rmSync(join(root, '7'), { recursive: true });
    addTo(root, {
      '8/ns/net': '-> net:[1]',
      '8/net/tcp': line,
      '8/fd/3': '-> socket:[77]',
      '8/stat': statLine(8, 'x', 1, 99),
    });
    expect(owners.find(addresses, 0n, 0n)).toEqual({ holder: { pid: 8, startTicks: 99 } });
  });
});

describe('why a connection has no owner (recorded tree)', () => {
  const FIB =
    'Main:\n     |-- 10.1.2.3\n        /24 link UNICAST\n        /32 host LOCAL\n     |-- 10.1.2.4\n        /32 link BROADCAST\n';
  const CLOSED =
    '   1: 0302010A:0001 0302010A:0050 06 00000000:00000000 03:00000A5E 00000000     0        0 0 3 00000000aa\n';
  const ORPHAN = CLOSED.replace(' 0 3 0', ' 77 3 0');
  const files = {
    '7/ns/net': '-> net:[1]',
    '7/net/fib_trie': FIB,
    '7/net/tcp': CLOSED,
    '7/net/tcp6': '',
    '7/fd/3': '-> socket:[5]',
  };
  const router = { 'sys/net/ipv4/ip_forward': '1\n' };
  it.each([
    ['closed', files, '10.1.2.3', false, 'exited'],
    ['held by nobody', { ...files, '7/net/tcp': ORPHAN }, '10.1.2.3', false, 'exited'],
    ['an address of nobody here, but seen at a socket', files, '10.1.2.4', true, 'exited'],
    ['an address of nobody here', files, '10.1.2.4', false, 'other_host'],
    ['an address of nobody here, on a router', { ...files, ...router }, '10.1.2.4', false, 'forwarded'],
    ['an IPv6 address of nobody here', { ...files, ...router }, 'fd00::9', false, 'other_host'],
    ['no /proc at all', {}, '10.1.2.3', false, 'other_host'],
  ] as const)('%s', (_, content, localAddress, sawSocket, reason) => {
    const owners = new SocketOwners(new ProcReader(tree(cleanUp, content)), NO_HURRY);
    const remoteAddress = localAddress.includes(':') ? 'fd00::1' : '10.1.2.3';
    expect(owners.find({ localAddress, localPort: 1, remoteAddress, remotePort: 80 }, 0n, sawSocket ? 1n : 0n)).toEqual(
      {
        reason,
      },
    );
  });
});

describe.skipIf(!isRoot)('SocketOwners across network namespaces (root only)', () => {
  const all = new CleanUp();
  // The whole host is searched: another run of these tests at the same time must have other addresses.
  const own = `${(process.pid >> 8) & 0xff}.${process.pid & 0xff}`;
  const NET = `10.${own}`;
  const LOOPBACK = `127.${own}.1`;
  const name = (suffix: string): string => `imdsproc${process.pid}${suffix}`;
  const ip = (...args: string[]): void => {
    execFileSync('ip', args, { stdio: 'pipe' });
  };
  const inside = (suffix: string, script: string): Child =>
    start(cleanUp, 'ip', ['netns', 'exec', name(suffix), PYTHON, '-c', script]);

  beforeAll(() => {
    for (const suffix of ['a', 'b']) {
      ip('netns', 'add', name(suffix));
      all.add(() => ip('netns', 'delete', name(suffix)));
      ip('-n', name(suffix), 'link', 'set', 'lo', 'up');
    }
    ip('-n', name('a'), 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v0', 'netns', name('b'));
    for (const [suffix, address] of [
      ['a', `${NET}.1/24`],
      ['b', `${NET}.2/24`],
    ] as const) {
      ip('-n', name(suffix), 'address', 'add', address, 'dev', 'v0');
      ip('-n', name(suffix), 'link', 'set', 'v0', 'up');
    }
  });
  afterAll(() => all.run());

  describe.each(WAYS)('%s', (_way, open) => {
    it('finds a connection between two others, from each side', async () => {
      const server = inside('b', SERVER(`${NET}.2`));
      await server.line(0);
      inside('a', 'input()'); // another process there, so that the namespace can be seen when the client is gone
      const client = inside('a', CLIENT(`${NET}.2`));
      const port = Number(await client.line(0));
      await sleep(50);
      const owners = ownersOf(open);
      const [a, b] = [
        { address: `${NET}.1`, port },
        { address: `${NET}.2`, port: 8080 },
      ];
      const side = (local: typeof a, remote: typeof a) => ({
        localAddress: local.address,
        localPort: local.port,
        remoteAddress: remote.address,
        remotePort: remote.port,
      });
      expect(owners.find(side(a, b), 0n, 0n)).toMatchObject({ holder: { pid: client.pid } });
      expect(owners.find(side(b, a), 0n, 0n)).toMatchObject({ holder: { pid: server.pid } });
      client.process.kill('SIGKILL');
      await client.ended();
      expect(owners.find(side(a, b), 0n, 0n)).toEqual({ reason: 'exited' });
    });

    it('finds one in a namespace that is newer than its list', async () => {
      const owners = ownersOf(open);
      const addresses = { localAddress: `${NET}.2`, localPort: 40_001, remoteAddress: `${NET}.2`, remotePort: 8080 };
      expect(owners.find(addresses, 0n, 0n)).not.toHaveProperty('holder');
      await inside('b', SERVER(`${NET}.2`)).line(0);
      const client = inside('b', CLIENT(`${NET}.2`, 40_001));
      await client.line(0);
      expect(owners.find(addresses, 0n, 0n)).toMatchObject({ holder: { pid: client.pid } });
    });

    it('finds the holder in another namespace than the socket (opened, then moved)', async () => {
      await inside('b', SERVER(`${NET}.2`)).line(0);
      const client = inside('b', CLIENT(`${NET}.2`, 40_002));
      await client.line(0);
      client.tell(`import ctypes; print(ctypes.CDLL(None).setns(os.open("/run/netns/${name('a')}", os.O_RDONLY), 0))`);
      expect(await client.line(1)).toBe('0');
      const addresses = { localAddress: `${NET}.2`, localPort: 40_002, remoteAddress: `${NET}.2`, remotePort: 8080 };
      const owners = ownersOf(open);
      expect(owners.find(addresses, 0n, 0n)).toMatchObject({ holder: { pid: client.pid } });
    });

    it('blames nobody for addresses that two namespaces have, unless the cgroup tells which', async () => {
      const clients: Child[] = [];
      for (const suffix of ['a', 'b']) {
        await inside(suffix, SERVER(LOOPBACK)).line(0);
        // Before `ip netns exec`, which mounts another /sys.
        const enter = suffix === 'a' && cgroupMount !== undefined ? `echo 0 > ${makeCgroup()}/cgroup.procs;` : '';
        const run = `${enter} exec ip netns exec "$0" "$@"`;
        const client = start(cleanUp, 'sh', ['-c', run, name(suffix), PYTHON, '-c', CLIENT(LOOPBACK, 40_003)]);
        await client.line(0);
        clients.push(client);
      }
      const addresses = { localAddress: '127.0.0.1', localPort: 40_003, remoteAddress: LOOPBACK, remotePort: 8080 };
      const owners = ownersOf(open);
      expect(owners.find(addresses, 0n, 0n)).toEqual({ reason: 'ambiguous' });
      expect(owners.find(addresses, 1n << 60n, 0n)).toEqual({ reason: 'ambiguous' });
      if (cgroupMount === undefined) return;
      const id = statSync(cgroupPath, { bigint: true }).ino;
      expect(owners.find(addresses, id, 0n)).toMatchObject({ holder: { pid: clients[0]!.pid } });
      for (const client of clients) {
        client.process.kill('SIGKILL');
        await client.ended();
      }
    });
  });

  it('tells apart by the socket cookie what has the same addresses in two namespaces', async () => {
    const owners = ownersOf(openNamespaceSockets);
    const cookies: bigint[] = [];
    const clients: Child[] = [];
    for (const suffix of ['a', 'b']) {
      await inside(suffix, SERVER(LOOPBACK)).line(0);
      const client = inside(suffix, CLIENT(LOOPBACK, 40_004));
      await client.line(0);
      client.tell('print(int.from_bytes(s.getsockopt(socket.SOL_SOCKET, 57, 8), sys.byteorder))'); // SO_COOKIE
      cookies.push(BigInt(await client.line(1)));
      clients.push(client);
    }
    const addresses = { localAddress: '127.0.0.1', localPort: 40_004, remoteAddress: LOOPBACK, remotePort: 8080 };
    expect(owners.find(addresses, 0n, 0n)).toEqual({ reason: 'ambiguous' });
    for (const [i, client] of clients.entries()) {
      expect(owners.find(addresses, 0n, cookies[i]!)).toMatchObject({ holder: { pid: client.pid } });
    }
    expect(owners.find(addresses, 0n, 1n << 60n)).toEqual({ reason: 'exited' });
  });

  it('finds a socket that is bound to an interface', async () => {
    await inside('b', SERVER(`${NET}.2`)).line(0);
    const client = inside(
      'a',
      CLIENT(`${NET}.2`, 40_005).replace(
        's.bind',
        's.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v0"); s.bind',
      ),
    );
    await client.line(0);
    const addresses = { localAddress: `${NET}.1`, localPort: 40_005, remoteAddress: `${NET}.2`, remotePort: 8080 };
    expect(ownersOf(openNamespaceSockets).find(addresses, 0n, 0n)).toMatchObject({ holder: { pid: client.pid } });
  });

  it('keeps no namespace alive whose processes are gone', async () => {
    const child = start(cleanUp, 'unshare', ['-n', PYTHON, '-c', 'print("ready", flush=True); input()']);
    await child.line(0);
    const netns = Number(/\d+/.exec(readlinkSync(`/proc/${child.pid}/ns/net`))![0]);
    const open = new Set<number>();
    const owners = ownersOf((path) => {
      const sockets = openNamespaceSockets(path);
      if (sockets === undefined) return undefined;
      open.add(sockets.inode);
      const close = (): void => {
        open.delete(sockets.inode);
        sockets.close();
      };
      return { inode: sockets.inode, find: sockets.find.bind(sockets), close };
    });
    owners.find({ localAddress: `${NET}.9`, localPort: 1, remoteAddress: `${NET}.2`, remotePort: 2 }, 0n, 0n);
    expect(open).toContain(netns);
    child.process.kill('SIGKILL');
    await child.ended();
    await sleep(2200);
    expect(open).not.toContain(netns);
    expect(open.size).toBeGreaterThan(0); // the others are kept
  });

  const cgroupPath = join(cgroupMount ?? '', `imdsproc${process.pid}`);
  function makeCgroup(): string {
    mkdirSync(cgroupPath, { recursive: true });
    all.add(() => rmdirSync(cgroupPath));
    return cgroupPath;
  }
});

describe('SocketOwners on a large host (recorded tree)', () => {
  const tcpLine = (local: string, remote: string, inode: number): string =>
    `   0: ${local} ${remote} 01 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 00000000bb 20 4 30 10 -1\n`;
  const addresses = { localAddress: '10.1.2.3', localPort: 8080, remoteAddress: '100.100.100.200', remotePort: 80 };
  const PROCESSES = 1000;
  const SOCKETS = 20_000;
  let root = '';
  const own = new CleanUp();

  beforeAll(() => {
    const files: Record<string, string> = {
      'net.tcp':
        Array.from({ length: SOCKETS }, (_, i) =>
          tcpLine(`0302010A:${(i % 8000).toString(16).toUpperCase().padStart(4, '0')}`, '0100000A:0050', 100_000 + i),
        ).join('') + tcpLine('0302010A:1F90', 'C8646464:0050', 77),
      'net.fib': 'Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.1.2.3\n        /32 host LOCAL\n',
    };
    for (let pid = 1; pid <= PROCESSES; pid++) {
      files[`${pid}/stat`] = statLine(pid, 'x', 1, pid);
      files[`${pid}/ns/net`] = '-> net:[4026531840]';
      files[`${pid}/net/tcp`] = '-> ../../net.tcp';
      files[`${pid}/net/tcp6`] = '-> ../../net.none';
      files[`${pid}/net/fib_trie`] = '-> ../../net.fib';
      for (let fd = 0; fd < 5; fd++) files[`${pid}/fd/${fd}`] = `-> socket:[${pid * 1000 + fd}]`;
    }
    files['990/fd/77'] = '-> socket:[77]';
    files['net.none'] = '';
    root = tree(own, files);
  });
  afterAll(() => own.run());

  it('stays within its time, and says when that was not enough to be certain', () => {
    const owners = new SocketOwners(new ProcReader(root), NO_HURRY);
    const times: number[] = [];
    for (let i = 0; i < 3; i++) {
      const started = performance.now();
      const owner = owners.find(addresses, 0n, 0n);
      times.push(performance.now() - started);
      expect(owner).toMatchObject({ holder: { pid: 990, startTicks: 990 } });
    }
    console.log(`${PROCESSES} processes, ${SOCKETS} sockets: ${times.map((ms) => ms.toFixed(1)).join(', ')} ms`);
    expect(Math.min(...times)).toBeLessThan(150);
  });

  it('is stopped by no process with very many files', () => {
    const hostile = Object.fromEntries(
      Array.from({ length: 6000 }, (_, fd) => [`1500/fd/${fd}`, `-> socket:[${900_000 + fd}]`]),
    );
    addTo(root, { ...hostile, '1500/ns/net': '-> net:[4026531840]', '1500/stat': statLine(1500, 'x', 1, 1500) });
    const owner = new SocketOwners(new ProcReader(root), NO_HURRY).find(addresses, 0n, 0n);
    expect(owner).toEqual({ holder: { pid: 990, startTicks: 990 }, limits: 'lookup_limit' });
  });

  it('looks at a process with very many files last, however new it is', () => {
    const looks: [pid: number, most: number][] = [];
    class Watched extends ProcReader {
      override openFiles(pid: number, most: number): { names: string[]; more: boolean } {
        looks.push([pid, most]);
        return super.openFiles(pid, most);
      }
    }
    new SocketOwners(new Watched(root), NO_HURRY).find(addresses, 0n, 0n);
    const at = (pid: number, thorough: boolean): number =>
      looks.findIndex(([who, most]) => who === pid && most > 1000 === thorough);
    expect(at(1500, false)).toBeLessThan(at(990, false));
    expect(at(1500, true)).toBeGreaterThan(at(990, false));
    expect(looks.filter(([, most]) => most > 1000).map(([pid]) => pid)).toEqual([1500]);
  });
});

describe('processes that may not be looked into', () => {
  class Refusing extends ProcReader {
    constructor(
      root: string,
      private readonly pid: number,
    ) {
      super(root);
    }
    override netns(pid: number): number | undefined {
      if (pid !== this.pid) return super.netns(pid);
      this.denied += 1;
      return undefined;
    }
  }
  const files = {
    '1/stat': '',
    '7/ns/net': '-> net:[1]',
    '7/net/tcp': '',
    '7/net/tcp6': '',
    '7/net/fib_trie': '',
    '8/stat': '',
  };
  const addresses = { localAddress: '10.9.9.9', localPort: 1, remoteAddress: '10.1.2.3', remotePort: 80 };
  it.each([
    ['init: it is where others are', 1, 'other_host'],
    ['another: it may be in a namespace of its own', 8, 'not_permitted'],
  ] as const)('%s', (_, pid, reason) => {
    const owners = new SocketOwners(new Refusing(tree(cleanUp, files), pid), NO_HURRY);
    expect(owners.find(addresses, 0n, 0n)).toEqual({ reason });
  });
});

describe.skipIf(!isRoot)('SocketOwners without the right to look (root only)', () => {
  it('says that it is not permitted rather than that there is none', async () => {
    const listener = start(cleanUp, PYTHON, ['-c', SERVER('127.0.0.1', 0).replace('"ready"', 's.getsockname()[1]')]);
    const remotePort = Number(await listener.line(0));
    const client = start(cleanUp, PYTHON, ['-c', CLIENT('127.0.0.1', 0, 'AF_INET', remotePort)]);
    const localPort = Number(await client.line(0));
    const addresses = { localAddress: '127.0.0.1', localPort, remoteAddress: '127.0.0.1', remotePort };
    process.seteuid!(65_534);
    try {
      expect(new SocketOwners(new ProcReader('/proc'), NO_HURRY).find(addresses, 0n, 0n)).toEqual({
        reason: 'not_permitted',
      });
    } finally {
      process.seteuid!(0);
    }
    expect(new SocketOwners(new ProcReader('/proc'), NO_HURRY).find(addresses, 0n, 0n)).toMatchObject({
      holder: { pid: client.pid },
    });
  });
});
