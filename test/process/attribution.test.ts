import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Attributor, LIMITS } from '../../src/process/attribution.js';
import { FRESH_MS } from '../../src/process/process-table.js';
import {
  type Child,
  CleanUp,
  connectRecord,
  EMPTY,
  flow,
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

const gone = (pid: number, comm: string, startBootNs = 40_000_000_000n) => ({
  pid,
  startBootNs,
  comm: Buffer.from(comm),
});

/** No process at all, and a passwd file. */
const nowhere = (files: Record<string, string> = {}): Attributor => {
  const root = tree(cleanUp, { 'sys/kernel/random/boot_id': 'boot\n', passwd: 'root:x:0:0::/:\n', ...files });
  return new Attributor({ procRoot: root, passwdFile: join(root, 'passwd') });
};

const cmdline = (pid: number): string[] => readFileSync(`/proc/${pid}/cmdline`, 'latin1').slice(0, -1).split('\0');

describe('a connection that the kernel told all of', () => {
  it('has all of it, of a process that is long gone', () => {
    const attributor = nowhere();
    attributor.onProcess({
      type: 'process',
      time: 1,
      process: gone(900, 'makeCalls.sh'),
      argv: Buffer.from('/bin/bash\0./makeCalls.sh\0'),
      argvTruncated: false,
    });
    const id = '0123456789abcdef'.repeat(4);
    attributor.onConnect(
      connectRecord({
        cgroupPath: Buffer.from(`/kubepods/pod12345678-9abc-def0-1234-56789abcdef0/${id}`),
        cgroupV1Path: Buffer.from('/system.slice/kubelet.service'),
        executable: Buffer.from('/tmp/c (deleted)'),
        ancestors: [gone(900, 'makeCalls.sh'), gone(899, 'zsh')],
      }),
    );
    const { how, detail, process } = attributor.forFlow(flow(1n));
    expect({ how, detail }).toEqual({ how: 'connect', detail: undefined });
    expect(process).toEqual({
      pid: 999_999_999,
      name: 'curl',
      startTime: expect.any(Number),
      args: ['curl', '-s', 'http://100.100.100.200/'],
      executable: '/tmp/c (deleted)',
      entityId: expect.stringMatching(/^[0-9a-f]{32}$/),
      user: { id: 0, name: 'root' },
      unit: 'kubelet.service',
      container: { id, runtime: 'containerd' },
      podUid: '12345678-9abc-def0-1234-56789abcdef0',
      netns: 4_026_531_840,
      ancestors: [
        { pid: 900, name: 'makeCalls.sh', startTime: expect.any(Number), args: ['/bin/bash', './makeCalls.sh'] },
        { pid: 899, name: 'zsh', startTime: expect.any(Number) },
      ],
    });
    expect(attributor.forFlow(flow(2n))).toEqual({ how: 'none', detail: 'exited' });
  });

  it('keeps copies, not views', () => {
    const attributor = nowhere();
    const batch = Buffer.alloc(64, 'a');
    attributor.onConnect(
      connectRecord({
        process: { pid: 7, startBootNs: 1n, comm: batch.subarray(0, 4) },
        argv: batch.subarray(4, 8),
        executable: batch.subarray(8, 12),
        cgroupPath: batch.subarray(12, 16),
        ancestors: [{ pid: 6, startBootNs: 1n, comm: batch.subarray(16, 20) }],
      }),
    );
    batch.fill('b');
    const { process } = attributor.forFlow(flow(1n));
    expect(process).toMatchObject({ name: 'aaaa', args: ['aaaa'], executable: 'aaaa', ancestors: [{ name: 'aaaa' }] });
  });

  it('shows hostile names as text: control characters whole, lone bytes by number', () => {
    const attributor = nowhere();
    attributor.onConnect(
      connectRecord({
        process: { pid: 7, startBootNs: 1n, comm: Buffer.from('a) R 1 (\n\xff', 'latin1') },
        argv: Buffer.from('\x1b[31m\0\xc3\xa9\0\xff\n\0', 'latin1'),
      }),
    );
    const { process } = attributor.forFlow(flow(1n));
    expect(process).toMatchObject({ name: 'a) R 1 (\n\\xff', args: ['\x1b[31m', 'é', '\\xff\n'] });
  });

  it('tells processes with one pid apart, and one process on two connections not', () => {
    const attributor = nowhere();
    attributor.onConnect(connectRecord({ cookie: 1n }));
    attributor.onConnect(connectRecord({ cookie: 2n }));
    attributor.onConnect(connectRecord({ cookie: 3n, process: gone(999_999_999, 'curl', 60_000_000_000n) }));
    attributor.onConnect(connectRecord({ cookie: 4n, argv: Buffer.from('wget\0') }));
    const [a, b, c, d] = [1n, 2n, 3n, 4n].map((cookie) => attributor.forFlow(flow(cookie)).process!);
    expect(b).toBe(a);
    expect(c!.entityId).not.toBe(a!.entityId);
    expect(d!.entityId).toBe(a!.entityId);
    expect([a!.args![0], d!.args![0]]).toEqual(['curl', 'wget']);
  });

  it('forgets a connection when told', () => {
    const attributor = nowhere();
    attributor.onConnect(connectRecord());
    attributor.forget(flow(1n));
    expect(attributor.forFlow(flow(1n)).how).toBe('none');
  });
});

describe('what /proc adds to a connect', () => {
  const waiting = async (...args: string[]): Promise<Child> => {
    const child = start(cleanUp, PYTHON, ['-c', 'print("ready", flush=True); input()', ...args]);
    await child.line(0);
    return child;
  };
  const bare = { argv: EMPTY, executable: EMPTY, cgroupPath: EMPTY, netns: 0 };

  it('is added where the kernel gave nothing', async () => {
    const child = await waiting('some', 'arguments');
    const attributor = new Attributor({ searchTimes: NO_HURRY });
    attributor.onConnect(connectRecord({ ...bare, process: kernelProcess(child.pid), uid: 0 }));
    const { how, detail, process: found } = attributor.forFlow(flow(1n));
    expect({ how, detail }).toEqual({ how: 'connect', detail: undefined });
    expect(found!.args).toEqual(cmdline(child.pid));
    expect(found!.executable).toMatch(/python3/);
    expect(found!.netns).toBeGreaterThan(0);
    expect(found!.user).toEqual({ id: 0, name: 'root' });
  });

  it('is not taken from another process with the pid', async () => {
    const child = await waiting();
    const attributor = new Attributor({ searchTimes: NO_HURRY });
    const real = kernelProcess(child.pid);
    const former = { ...real, startBootNs: real.startBootNs - 50_000_000n };
    attributor.onConnect(connectRecord({ ...bare, process: former }));
    const { detail, process: found } = attributor.forFlow(flow(1n));
    expect(detail).toBe('exited');
    expect(found).not.toHaveProperty('args');
    expect(found).not.toHaveProperty('executable');
    expect(found).not.toHaveProperty('netns');
    // And as an ancestor.
    attributor.onConnect(connectRecord({ cookie: 2n, ancestors: [former] }));
    expect(attributor.forFlow(flow(2n)).process!.ancestors).toEqual([
      { pid: child.pid, name: real.comm.toString(), startTime: expect.any(Number) },
    ]);
  });

  it('accepts a start time that differs by one tick, not by two', () => {
    const at = (ticks: number) =>
      nowhere({ '7/stat': statLine(7, 'curl', 1, ticks), '7/cmdline': 'curl\0', '7/cgroup': '0::/\n' });
    const record = connectRecord({ ...bare, process: gone(7, 'curl', 50_000_000_000n) });
    for (const [ticks, args] of [
      [4998, undefined],
      [4999, ['curl']],
      [5000, ['curl']],
      [5001, ['curl']],
      [5002, undefined],
    ] as const) {
      const attributor = at(ticks);
      attributor.onConnect(record);
      expect(attributor.forFlow(flow(1n)).process!.args).toEqual(args);
    }
  });

  it('is not taken from the program that it has exec-ed since', async () => {
    const child = await waiting();
    const attributor = new Attributor({ searchTimes: NO_HURRY });
    const earlier = { ...kernelProcess(child.pid), comm: Buffer.from('before') };
    attributor.onConnect(connectRecord({ ...bare, process: earlier }));
    const { process: found } = attributor.forFlow(flow(1n));
    expect(found!.name).toBe('before');
    expect(found).not.toHaveProperty('args');
    expect(found!.netns).toBeGreaterThan(0);
  });

  it('completes arguments that were cut, up to 8 KiB, and says so', async () => {
    const some = await waiting('x'.repeat(5000));
    const many = await waiting('x'.repeat(100_000));
    const attributor = new Attributor({ searchTimes: NO_HURRY });
    const cut = (child: Child, cookie: bigint): void =>
      attributor.onConnect(
        connectRecord({
          cookie,
          process: kernelProcess(child.pid),
          argv: readFileSync(`/proc/${child.pid}/cmdline`).subarray(0, 4096),
          argvTruncated: true,
        }),
      );
    cut(some, 1n);
    cut(many, 2n);
    const [a, b] = [1n, 2n].map((cookie) => attributor.forFlow(flow(cookie)));
    expect(a!.process!.args).toEqual(cmdline(some.pid));
    expect(a).not.toHaveProperty('detail');
    expect(b!.detail).toBe('arguments_truncated');
    expect(b!.process!.argsTruncated).toBe(true);
    expect(b!.process!.args!.join(' ')).toHaveLength(8192);
  });

  it('is all there is without BTF: the same identity, with the ancestors', async () => {
    const child = await waiting('x');
    const attributor = new Attributor({ searchTimes: NO_HURRY });
    const real = kernelProcess(child.pid);
    attributor.onConnect(connectRecord({ process: real }));
    // The name is then a thread's own.
    const blind = { pid: child.pid, startBootNs: 0n, comm: Buffer.from('worker') };
    attributor.onConnect(connectRecord({ ...bare, cookie: 2n, process: blind }));
    const [known, found] = [1n, 2n].map((cookie) => attributor.forFlow(flow(cookie)).process!);
    expect(found!.entityId).toBe(known!.entityId);
    expect(found!.startTime).toBe(known!.startTime);
    expect(found).toMatchObject({ name: 'worker', args: cmdline(child.pid) });
    expect(found!.ancestors[0]).toMatchObject({
      pid: process.pid,
      executable: process.execPath,
      args: cmdline(process.pid),
    });
    expect(found!.ancestors.length).toBeGreaterThan(1);
    // A process that started after the connect is another one.
    attributor.onConnect(connectRecord({ ...bare, cookie: 3n, process: blind, time: known!.startTime! - 100 }));
    const later = attributor.forFlow(flow(3n));
    expect(later.detail).toBe('exited');
    expect(later.process).toEqual({
      pid: child.pid,
      name: 'worker',
      entityId: expect.any(String),
      user: { id: 0, name: 'root' },
      ancestors: [],
    });
  });
});

describe('arguments of ancestors', () => {
  /** Runs one script, and another one of the same interpreter when told. */
  const CHANGING = (next: string): string =>
    `import os,sys; print("one", flush=True); input(); os.execv(sys.executable, ["python3", "-c", ${JSON.stringify(next)}])`;
  const WAIT = 'print("two", flush=True); input()';
  let cookie = 0n;
  const argsOfAncestor = (attributor: Attributor, child: Child) => {
    cookie += 1n;
    attributor.onConnect(connectRecord({ cookie, ancestors: [kernelProcess(child.pid)] }));
    return attributor.forFlow(flow(cookie)).process!.ancestors[0]!.args;
  };

  it('come from /proc at once, and stay though the ancestor exits', async () => {
    const child = start(cleanUp, PYTHON, ['-c', WAIT]);
    await child.line(0);
    const attributor = new Attributor({ searchTimes: NO_HURRY });
    attributor.onConnect(connectRecord({ cookie: 77n, ancestors: [kernelProcess(child.pid)] }));
    const args = cmdline(child.pid);
    child.process.kill('SIGKILL');
    await child.ended();
    expect(attributor.forFlow(flow(77n)).process!.ancestors[0]!.args).toEqual(args);
  });

  it('are not those from before an exec, even of the same interpreter', async () => {
    const child = start(cleanUp, PYTHON, ['-c', CHANGING(WAIT)]);
    await child.line(0);
    const attributor = new Attributor({ searchTimes: NO_HURRY });
    // The name is made the same for both: only the arguments tell them apart.
    expect(argsOfAncestor(attributor, child)![2]).toBe(CHANGING(WAIT));
    const before = cookie;
    child.tell('');
    await child.line(1);
    await sleep(FRESH_MS);
    expect(argsOfAncestor(attributor, child)).toEqual(['python3', '-c', WAIT]);
    // What was recorded then remains what it was.
    expect(attributor.forFlow(flow(before)).process!.ancestors[0]!.args![2]).toBe(CHANGING(WAIT));
  });

  it('are read anew at once when the name has changed', async () => {
    const child = start(cleanUp, PYTHON, [
      '-c',
      'import os; print("one", flush=True); input(); os.execvp("sleep", ["sleep", "60"])',
    ]);
    await child.line(0);
    const attributor = new Attributor({ searchTimes: NO_HURRY });
    expect(argsOfAncestor(attributor, child)).toHaveLength(3);
    const was = kernelProcess(child.pid);
    child.tell('');
    // exec sets the name first and the arguments a moment later.
    const isExecuted = () => readFileSync(`/proc/${child.pid}/cmdline`, 'latin1').startsWith('sleep\0');
    while (!isExecuted() || kernelProcess(child.pid).comm.toString() !== 'sleep') await sleep(5);
    expect(argsOfAncestor(attributor, child)).toEqual(['sleep', '60']);
    // The kernel saw the name from before, /proc shows the program after it: neither's arguments are certain.
    attributor.onConnect(connectRecord({ cookie: 88n, ancestors: [was] }));
    expect(attributor.forFlow(flow(88n)).process!.ancestors[0]).not.toHaveProperty('args');
  });

  it('from the kernel are replaced by the next exec, and completed from /proc', async () => {
    const child = start(cleanUp, PYTHON, ['-c', WAIT, 'y'.repeat(600)]);
    await child.line(0);
    const attributor = new Attributor({ searchTimes: NO_HURRY });
    const exec = (argv: string, argvTruncated: boolean): void =>
      attributor.onProcess({
        type: 'process',
        time: 1,
        process: kernelProcess(child.pid),
        argv: Buffer.from(argv),
        argvTruncated,
      });
    exec('python3\0other\0', false);
    expect(argsOfAncestor(attributor, child)).toEqual(['python3', 'other']);
    const whole = cmdline(child.pid);
    exec(whole.join('\0').slice(0, 512), true);
    expect(argsOfAncestor(attributor, child)).toEqual(whole);
    child.process.kill('SIGSTOP');
    expect(argsOfAncestor(attributor, child)).toEqual(whole);
  });

  it('are absent, not invented, for those that are gone, and at most eight are kept', () => {
    const attributor = nowhere();
    const ancestors = Array.from({ length: 12 }, (_, i) => gone(100 - i, `p${i}`));
    attributor.onConnect(connectRecord({ ancestors }));
    const found = attributor.forFlow(flow(1n)).process!.ancestors;
    expect(found.map(({ name }) => name)).toEqual(['p0', 'p1', 'p2', 'p3', 'p4', 'p5', 'p6', 'p7']);
    for (const ancestor of found) expect(ancestor).not.toHaveProperty('args');
    const top = [gone(1, 'systemd'), gone(0, 'swapper/0', 0n)];
    attributor.onConnect(connectRecord({ cookie: 2n, ancestors: top }));
    expect(attributor.forFlow(flow(2n)).process!.ancestors).toHaveLength(1);
  });
});

describe('a connection without a connect record', () => {
  it('is attributed to the holder of its socket, with all that /proc knows', async () => {
    const child = start(cleanUp, PYTHON, [
      '-c',
      'import socket\ns=socket.create_server(("127.0.0.1",0))\nc=socket.create_connection(s.getsockname())\nprint(c.getsockname()[1], s.getsockname()[1], flush=True)\ninput()',
      'z',
    ]);
    const [localPort, remotePort] = (await child.line(0)).split(' ').map(Number) as [number, number];
    const addresses = { localAddress: '127.0.0.1', localPort, remoteAddress: '127.0.0.1', remotePort };
    const attributor = new Attributor({ searchTimes: NO_HURRY });
    const started = performance.now();
    const attribution = attributor.forFlow(flow(5n, addresses));
    const first = performance.now() - started;
    expect(attribution.how).toBe('procfs');
    expect(attribution).not.toHaveProperty('detail');
    expect(attribution.process).toMatchObject({
      pid: child.pid,
      args: cmdline(child.pid),
      user: { id: process.getuid!() },
    });
    expect(attribution.process!.ancestors[0]!.pid).toBe(process.pid);
    attributor.onConnect(connectRecord({ cookie: 6n, process: kernelProcess(child.pid) }));
    expect(attributor.forFlow(flow(6n)).process!.entityId).toBe(attribution.process!.entityId);
    // Remembered under the cookie; without one, under the addresses, until they are forgotten.
    expect(attributor.forFlow(flow(5n, addresses))).toBe(attribution);
    const byAddress = attributor.forFlow(flow(0n, addresses));
    expect(byAddress).toEqual(attribution);
    child.process.kill('SIGKILL');
    await child.ended();
    expect(attributor.forFlow(flow(0n, addresses))).toBe(byAddress);
    attributor.forget(flow(0n, addresses));
    expect(attributor.forFlow(flow(0n, addresses))).toEqual({ how: 'none', detail: 'exited' });
    console.log(`look-up of a connection from before the start: ${first.toFixed(2)} ms`);
  });

  it('keeps its process where there was no time to see who else has it, and none to look again', async () => {
    const child = start(cleanUp, PYTHON, [
      '-c',
      'import socket\ns=socket.create_server(("127.0.0.1",0))\nc=socket.create_connection(s.getsockname())\nprint(c.getsockname()[1], s.getsockname()[1], flush=True)\ninput()',
    ]);
    const [localPort, remotePort] = (await child.line(0)).split(' ').map(Number) as [number, number];
    const addresses = { localAddress: '127.0.0.1', localPort, remoteAddress: '127.0.0.1', remotePort };
    const attributor = new Attributor({ searchTimes: { ...NO_HURRY, sharedMs: -1 } });
    const attribution = attributor.forFlow(flow(5n, addresses));
    expect(attribution).toMatchObject({ how: 'procfs', detail: 'lookup_limit', process: { pid: child.pid } });
    child.process.kill('SIGKILL');
    await child.ended();
    // It is looked for again, and not found any more: a cookie is that of one socket.
    expect(attributor.forFlow(flow(5n, addresses))).toBe(attribution);
    expect(attributor.forFlow(flow(6n, addresses))).toEqual({ how: 'none', detail: 'exited' });
  });

  it('is attributed to who was found as its SYN was captured, though gone since', () => {
    const early = {
      pid: 999_999_999,
      netns: 1,
      inode: 77,
      stat: statLine(999_999_999, 'curl', 1, 4242).trim(),
      status: 'Name:\tcurl\nUid:\t4321\t0\t0\t0\n',
      cgroup: '0::/system.slice/ssh.service\n',
      argv: 'curl\0-s\0http://100.100.100.200/\0',
      executable: '/usr/bin/curl',
    };
    const asked: number[] = [];
    const attributor = new Attributor({
      searchTimes: NO_HURRY,
      takeEarlyOwner: ({ localPort }) => {
        asked.push(localPort);
        return localPort === 4711 ? early : localPort === 4712 ? { ...early, stat: 'x' } : undefined;
      },
    });
    const attribution = attributor.forFlow(flow(0n));
    expect(attribution).toMatchObject({
      how: 'procfs',
      process: {
        pid: 999_999_999,
        name: 'curl',
        args: ['curl', '-s', 'http://100.100.100.200/'],
        executable: '/usr/bin/curl',
        user: { id: 4321 },
        unit: 'ssh.service',
      },
    });
    expect(attribution).not.toHaveProperty('detail');
    expect(attributor.forFlow(flow(0n))).toBe(attribution);
    expect(attributor.forFlow(flow(0n, { localPort: 4712 })).how).toBe('none');
    expect(attributor.forFlow(flow(0n, { localPort: 4713 })).how).toBe('none');
    // Once each; a source that knows sockets has no need of it.
    expect(attributor.forFlow(flow(9n)).how).toBe('none');
    expect(asked).toEqual([4711, 4712, 4713]);
  });

  it('does not hold up the packets when there are very many', () => {
    const attributor = new Attributor();
    const started = performance.now();
    const details = new Map<string, number>();
    for (let i = 1; i <= 5000; i++) {
      const { how, detail } = attributor.forFlow(flow(BigInt(i)));
      expect(how).toBe('none');
      details.set(detail!, (details.get(detail!) ?? 0) + 1);
    }
    const took = performance.now() - started;
    console.log(`5000 unknown connections: ${took.toFixed(0)} ms, ${JSON.stringify([...details])}`);
    expect(details.get('lookup_limit')).toBeGreaterThan(0);
  });
});

describe('bounds and cost', () => {
  const MEMORY = 20 * 1024 * 1024;

  it('keeps its memory bounded, whatever is in the arguments', () => {
    const attributor = nowhere();
    const argv = Buffer.alloc(8192, 'x');
    for (let i = 0; i < 20_000; i++) {
      argv.write(String(i));
      const process = gone(i + 2, 'x');
      if (i % 2 === 0) attributor.onProcess({ type: 'process', time: 1, process, argv, argvTruncated: false });
      attributor.onConnect(connectRecord({ cookie: BigInt(i + 1), process, argv, ancestors: [gone(i + 1, 'x')] }));
      expect(attributor.memoryBytes).toBeLessThanOrEqual(MEMORY);
    }
    expect(attributor.forFlow(flow(20_000n)).how).toBe('connect');
    expect(attributor.forFlow(flow(1n)).how).toBe('none');
    // With all forgotten, only the caches of processes are left.
    for (let i = 0; i < 20_000; i++) attributor.forget(flow(BigInt(i + 1)));
    expect(attributor.memoryBytes).toBeGreaterThan(0);
    expect(attributor.memoryBytes).toBeLessThanOrEqual(MEMORY);
  });

  it('remembers as many connections of one process as there may be', () => {
    const attributor = nowhere();
    for (let i = 1; i <= LIMITS.connections.entries + 1; i++)
      attributor.onConnect(connectRecord({ cookie: BigInt(i) }));
    expect(attributor.forFlow(flow(2n)).how).toBe('connect');
    expect(attributor.forFlow(flow(1n)).how).toBe('none');
    expect(attributor.memoryBytes).toBeLessThan(100_000);
  });

  it('survives a proc file system that makes no sense', () => {
    const attributor = nowhere({
      uptime: 'soon',
      '7/stat': 'x',
      '7/cmdline': '\0\0\0',
      '7/cgroup': ':::\n'.repeat(1000),
      '7/status': 'Uid:\tnobody\n',
      '7/exe': 'no link',
      '7/ns/net': '-> net:[x]',
      '8/fd': 'no directory',
      '8/ns/net': '-> net:[1]',
      '8/net/tcp': '\n\n\xff',
    });
    for (const pid of [7, 8]) {
      attributor.onConnect(
        connectRecord({
          argv: EMPTY,
          executable: EMPTY,
          cgroupPath: EMPTY,
          process: gone(pid, ''),
          ancestors: [gone(pid, '')],
        }),
      );
      expect(attributor.forFlow(flow(1n)).detail).toBe('exited');
    }
    expect(attributor.forFlow(flow(2n)).how).toBe('none');
    expect(attributor.forFlow(flow(3n, { localAddress: 'x', localPort: -1 })).how).toBe('none');
  });

  it('costs a few microseconds when the kernel gave all', () => {
    const attributor = nowhere();
    const ancestors = Array.from({ length: 4 }, (_, i) => gone(i + 1, 'bash'));
    for (const process of ancestors) {
      attributor.onProcess({
        type: 'process',
        time: 1,
        process,
        argv: Buffer.from('bash\0-l\0'),
        argvTruncated: false,
      });
    }
    const time = (records: ReturnType<typeof connectRecord>[]): number => {
      const started = performance.now();
      for (const record of records) {
        attributor.onConnect(record);
        attributor.forFlow(flow(record.cookie));
        attributor.forget(flow(record.cookie));
      }
      return ((performance.now() - started) * 1000) / records.length;
    };
    const make = (argv: Buffer, pid: (i: number) => number) =>
      Array.from({ length: 5000 }, (_, i) =>
        connectRecord({ cookie: BigInt(i), argv, ancestors, process: gone(pid(i), 'curl') }),
      );
    const short = Buffer.from('curl\0-s\0http://100.100.100.200/latest/meta-data/\0');
    const long = Buffer.concat(Array.from({ length: 64 }, (_, i) => Buffer.from(`${'a'.repeat(62)}${i % 10}\0`)));
    const rows = {
      'one process, 3 arguments': time(make(short, () => 5000)),
      'a process each, 3 arguments': time(make(short, (i) => 10_000 + i)),
      'a process each, 64 arguments of 64 bytes': time(make(long, (i) => 20_000 + i)),
    };
    for (const [name, us] of Object.entries(rows)) console.log(`${name}: ${us.toFixed(1)} µs a connection`);
    expect(rows['a process each, 3 arguments']).toBeLessThan(100);
  });

  it('reads new passwd files without being asked to', async () => {
    const root = tree(cleanUp, { passwd: 'old:x:0:0::/:\n' });
    const attributor = new Attributor({ procRoot: root, passwdFile: join(root, 'passwd') });
    attributor.onConnect(connectRecord({ cookie: 1n }));
    writeFileSync(join(root, 'passwd'), 'newer:x:0:0::/:\n');
    await sleep(1050);
    attributor.onConnect(connectRecord({ cookie: 2n, argv: Buffer.from('other\0') }));
    expect(attributor.forFlow(flow(1n)).process!.user).toEqual({ id: 0, name: 'old' });
    expect(attributor.forFlow(flow(2n)).process!.user).toEqual({ id: 0, name: 'newer' });
  });
});
