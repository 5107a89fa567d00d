import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
} from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { seesNamespaceOnly } from '../../src/capture/description.js';
import { openEbpf } from '../../src/capture/ebpf.js';
import { probeHost } from '../../src/capture/probe.js';
import type { CaptureRecord, CaptureSource, ConnectRecord } from '../../src/capture/types.js';
import { NOTHING_SEEN } from '../support/records.js';
import {
  allProgramIds,
  argv,
  connectsOf,
  type Finished,
  finish,
  isRoot,
  openScene,
  packetsOf,
  payload,
  programIds,
  readAll,
  root,
  type Scene,
} from './support.js';

// A port of this run alone: another tracer's or test's connections to the same addresses are not ours.
const PORT = 20_000 + (process.pid % 20_000);
const V4 = '100.100.100.200';
const V6 = 'fd00:ec2::254';
const ENDPOINTS = [
  { address: V4, port: PORT },
  { address: V6, port: PORT },
];
const URL4 = `http://${V4}:${PORT}/latest/meta-data/`;

const LIBRARY = join(root, 'build/Release/imds_capture.so');
const FIXTURE = join(root, 'test/capture/fixtures/open-source.mjs');

/** Where the root of the cgroup v2 tree is mounted, if it is: with cgroup v1 it is there all the same. */
const mountedCgroup2 = /^\S+ \S+ \S+ \/ (\S+) .* - cgroup2 /m.exec(readFileSync('/proc/self/mountinfo', 'utf8'))?.[1];

/**
 * Whether the sockets made here have a class or priority of cgroup v1. Before Linux 5.15 it is kept in place of their v2 group,
 * and they count as of the root's (8520e224f547): programs attached further down don't see them.
 */
const socketsHaveAClass =
  /^\d+:[^:]*net_cls[^:]*:\/./m.test(readFileSync('/proc/self/cgroup', 'utf8')) &&
  Number(/^5\.(\d+)/.exec(release())?.[1]) < 15;

const text = (bytes: Buffer): string => bytes.toString('latin1');

/** Without BTF the kernel program knows pid, name, user and cgroup id only. */
const hasBtf = existsSync('/sys/kernel/btf/vmlinux');
const itWithBtf = it.skipIf(!hasBtf);

describe.skipIf(!isRoot)('the eBPF source on this kernel (needs root; to know a process in full, BTF)', () => {
  let scene: Scene;
  let source: CaptureSource;
  const folder = mkdtempSync(join(tmpdir(), 'imds-capture-'));

  /** Runs `test` with a mount of the cgroup v2 tree: the host's, or else one for the time being. */
  const withCgroup2 = async (test: (mount: string) => Promise<void>): Promise<void> => {
    if (mountedCgroup2 !== undefined) return test(mountedCgroup2);
    const mount = mkdtempSync(join(tmpdir(), 'imds-cgroup2-'));
    await mustRun('mount', '-t', 'cgroup2', 'none', mount);
    try {
      await test(mount);
    } finally {
      await mustRun('umount', '-l', mount);
      rmdirSync(mount);
    }
  };
  const mustRun = async (command: string, ...args: string[]): Promise<void> => {
    const { status, stderr } = await finish(spawn(command, args));
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  };

  beforeAll(async () => {
    scene = await openScene(PORT, [V4, V6]);
  });
  afterAll(async () => {
    await scene?.end();
    rmSync(folder, { recursive: true });
  });
  afterEach(() => source?.close());

  const open = (ringBytes?: number): CaptureSource => {
    source = openEbpf({ endpoints: ENDPOINTS, ...(ringBytes !== undefined && { ringBytes }) });
    return source;
  };

  /** Runs the command and returns what was captured of its one connection. */
  const capture = (command: string, ...args: string[]) => captureOf(() => scene.run(command, ...args));

  const captureOf = async (run: () => Promise<Finished>) => {
    open();
    const client = await run();
    const records = await readAll(source);
    const [connect, ...more] = connectsOf(records, client.pid);
    expect(client.stderr).toBe('');
    expect(connect).toBeDefined();
    expect(more).toEqual([]);
    return { client, connect: connect!, packets: packetsOf(records, connect!.cookie), records };
  };

  it('says how it is attached', () => {
    const variant = hasBtf ? 'CO-RE' : 'without CO-RE';
    const tree = mountedCgroup2 === undefined ? 'mounted privately' : `at ${mountedCgroup2}`;
    expect(open().description).toMatch(/^eBPF on Linux \S+ at the cgroup hooks \(/);
    expect(source.description).toContain(` (${variant}), cgroup v2 ${tree}, `);
    expect(source.kind).toBe('ebpf');
  });

  itWithBtf('knows curl in full, and has every byte of both directions', async () => {
    const before = Date.now();
    const { client, connect, packets } = await capture('curl', '-s', URL4);
    expect(client.stdout).toBe('ok\n');
    expect(argv(connect.argv)).toEqual(['curl', '-s', URL4]);
    expect(connect).toMatchObject({
      family: 4,
      remoteAddress: V4,
      remotePort: PORT,
      uid: 0,
      gid: 0,
      netns: scene.netns,
    });
    expect(connect.argvTruncated).toBe(false);
    expect(text(connect.process.comm)).toBe('curl');
    expect(text(connect.executable)).toBe(realpathSync('/usr/bin/curl'));
    expect(connect.ancestors[0]!.pid).toBe(process.pid);
    expect(connect.time).toBeGreaterThan(before - 50);
    expect(connect.time).toBeLessThan(Date.now() + 50);
    expect(payload(packets, 'egress')).toMatch(
      new RegExp(`^GET /latest/meta-data/ HTTP/1.1\r\nHost: ${V4}:${PORT}\r\n`),
    );
    expect(payload(packets, 'ingress')).toBe('HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n');
    for (const packet of packets) {
      expect(packet).toMatchObject({ remoteAddress: V4, remotePort: PORT, localAddress: '198.18.0.1' });
      expect(packet.data.length).toBe(packet.wireLength);
      expect(packet.cgroupId).toBe(connect.cgroupId);
    }
    expect(packets.map(({ direction }) => direction).slice(0, 2)).toEqual(['egress', 'ingress']);
  });

  itWithBtf('names ancestors by pid and start time as /proc does', async () => {
    const { connect } = await capture('curl', '-s', URL4);
    const hertz = 100; // USER_HZ is 100 on every architecture that is supported (sysconf(_SC_CLK_TCK))
    for (const { pid, startBootNs, comm } of connect.ancestors) {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]!;
      expect(startBootNs / BigInt(1e9 / hertz)).toBe(BigInt(ticks));
      expect(text(comm)).toBe(readFileSync(`/proc/${pid}/comm`, 'latin1').trimEnd());
    }
    expect(connect.ancestors.at(-1)!.pid === 1 || connect.ancestors.length === 8).toBe(true);
  });

  itWithBtf('sends the argv of a parent before its child connects, and not again for the next child', async () => {
    open();
    const client = await scene.run('bash', '-c', `curl -s ${URL4}; curl -s ${URL4}; true`, 'makeCalls.sh');
    const records = await readAll(source);
    const parents = records.filter((record) => record.type === 'process' && record.process.pid === client.pid);
    expect(parents).toHaveLength(1);
    expect(parents[0]).toMatchObject({ argvTruncated: false });
    expect(text((parents[0] as { argv: Buffer }).argv)).toMatch(/^bash\0-c\0curl .*; true\0makeCalls\.sh\0$/);
    const children = records.filter(
      (record): record is ConnectRecord => record.type === 'connect' && record.ancestors[0]!.pid === client.pid,
    );
    expect(children).toHaveLength(2);
    expect(records.indexOf(parents[0]!)).toBeLessThan(records.indexOf(children[0]!));
    const parent = children[0]!.ancestors[0]!;
    expect((parents[0] as { process: unknown }).process).toEqual(parent);
  });

  it('sees an IPv6 endpoint', async () => {
    const { connect, packets } = await capture('curl', '-sg', `http://[${V6}]:${PORT}/six`);
    expect(connect).toMatchObject({ family: 6, remoteAddress: V6, remotePort: PORT });
    expect(payload(packets, 'egress')).toMatch(/^GET \/six HTTP\/1\.1\r\n/);
    expect(payload(packets, 'ingress')).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(packets[0]).toMatchObject({ remoteAddress: V6, localAddress: '2001:db8::1' });
  });

  it('sees an IPv6 socket that connects to an IPv4-mapped address', async () => {
    const script = `import socket; s = socket.socket(socket.AF_INET6); s.connect(('::ffff:${V4}', ${PORT})); s.sendall(b'GET /mapped HTTP/1.0\\r\\n\\r\\n'); s.recv(4096)`;
    const { connect, packets } = await capture('/usr/bin/python3', '-c', script);
    expect(connect).toMatchObject({ family: 6, remoteAddress: V4 });
    expect(payload(packets, 'egress')).toBe('GET /mapped HTTP/1.0\r\n\r\n');
    expect(packets[0]!.data[0]! >> 4).toBe(4);
    expect(packets[0]).toMatchObject({ remoteAddress: V4, localAddress: '198.18.0.1' });
  });

  itWithBtf("sees bash's /dev/tcp, with a packet for each of its writes", async () => {
    const script = `exec 3<>/dev/tcp/${V4}/${PORT}; printf 'GET / HTTP/1.1\\r\\n' >&3; printf 'Host: x\\r\\n\\r\\n' >&3; cat <&3 >/dev/null`;
    const { packets, connect } = await capture('bash', '-c', script);
    expect(text(connect.process.comm)).toBe('bash');
    expect(payload(packets, 'egress')).toBe('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  });

  itWithBtf('knows a process that exits right after its one send', async () => {
    const script = `import os, socket; s = socket.socket(); s.connect(('${V4}', ${PORT})); s.send(b'GET /quick HTTP/1.0\\r\\n\\r\\n'); os._exit(0)`;
    const { connect, packets } = await capture('/usr/bin/python3', '-c', script);
    expect(argv(connect.argv)).toEqual(['/usr/bin/python3', '-c', script]);
    expect(payload(packets, 'egress')).toBe('GET /quick HTTP/1.0\r\n\r\n');
  });

  itWithBtf.each([255, 256, 257, 1023, 1024, 1025, 4095, 4096, 4097, 60_000])(
    'keeps an argv of %i bytes up to 4096',
    async (size) => {
      const fixed = `curl\0-s\0${URL4}\0-H\0X: \0`.length;
      const padding = 'a'.repeat(size - fixed);
      const { connect } = await capture('curl', '-s', URL4, '-H', `X: ${padding}`);
      const whole = `curl\0-s\0${URL4}\0-H\0X: ${padding}\0`;
      expect(whole.length).toBe(size);
      expect(text(connect.argv)).toBe(whole.slice(0, 4096));
      expect(connect.argvTruncated).toBe(size > 4096);
    },
  );

  itWithBtf('says that an executable was deleted, and keeps the end of a path that is too long', async () => {
    const copy = join(folder, 'curl-that-goes');
    copyFileSync('/usr/bin/curl', copy);
    const script = `exec ${copy} -s -K <(sleep 0.3; rm ${copy}; echo 'url = ${URL4}')`;
    const { connect: deleted } = await capture('bash', '-c', script);
    expect(text(deleted.executable)).toBe(`${realpathSync(folder)}/curl-that-goes (deleted)`);

    const deep = join(folder, ...Array.from({ length: 8 }, (_, i) => `${i}`.repeat(200)));
    mkdirSync(deep, { recursive: true });
    copyFileSync('/usr/bin/curl', join(deep, 'curl'));
    const { connect } = await capture(join(deep, 'curl'), '-s', URL4);
    const shown = text(connect.executable);
    expect(shown[0]).not.toBe('/');
    expect(shown.length).toBeGreaterThan(700);
    expect(join(deep, 'curl').endsWith(shown)).toBe(true);
  });

  itWithBtf('names the cgroup of the process', () =>
    withCgroup2(async (mount) => {
      const group = join(mount, `imds-test-${process.pid}`);
      const inner = join(group, 'inner.service');
      mkdirSync(inner, { recursive: true });
      try {
        const enter = `echo $$ > ${inner}/cgroup.procs; exec ip netns exec ${scene.network.client} curl -s ${URL4}`;
        const { connect } = await captureOf(() => finish(spawn('sh', ['-c', enter])));
        const own = readFileSync('/proc/self/cgroup', 'utf8');
        expect(text(connect.cgroupPath)).toBe(`/imds-test-${process.pid}/inner.service`);
        const v1 = new Map([...own.matchAll(/^\d+:([^:]+):(.*)$/gm)].map((match) => [match[1]!, match[2]!]));
        const pids = v1.get('pids');
        expect(text(connect.cgroupV1Path)).toBe((pids && pids !== '/' ? pids : (v1.get('memory') ?? pids)) ?? '');
      } finally {
        rmdirSync(inner);
        rmdirSync(group);
      }
    }),
  );

  it('has whole packets of the size that segmentation offload makes them', async () => {
    const body = 'x'.repeat(60_000);
    const script = `import socket; s = socket.socket(); s.connect(('${V4}', ${PORT})); s.sendall(b'POST / HTTP/1.0\\r\\nX: ' + b'x' * 60000 + b'\\r\\n\\r\\n'); s.recv(4096)`;
    const { packets } = await capture('/usr/bin/python3', '-c', script);
    expect(payload(packets, 'egress')).toBe(`POST / HTTP/1.0\r\nX: ${body}\r\n\r\n`);
    expect(Math.max(...packets.map(({ data }) => data.length))).toBeGreaterThan(4096);
    expect(source.stats().truncated).toBe(0);
  });

  it('ignores other ports of an endpoint and other addresses', async () => {
    open();
    await scene.run('curl', '-s', `http://${V4}:${PORT + 1}/`);
    await scene.run('curl', '-s', `http://198.18.0.2:${PORT}/`);
    await scene.run(
      '/usr/bin/python3',
      '-c',
      `import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('${V4}', ${PORT})); s.send(b'x')`,
    );
    expect(await readAll(source)).toEqual([]);
    expect(source.stats()).toEqual(NOTHING_SEEN);
  });

  itWithBtf('filters by the map where more addresses are given than fit beside the program', async () => {
    const many = Array.from({ length: 600 }, (_, i) => ({ address: `203.0.113.${i % 256}`, port: 1000 + i }));
    source = openEbpf({ endpoints: [...many, ...ENDPOINTS] });
    const client = await scene.run('curl', '-s', URL4);
    const [connect] = connectsOf(await readAll(source), client.pid);
    expect(argv(connect!.argv)).toEqual(['curl', '-s', URL4]);
  });

  /** Segments of the client's namespace, in and out, as the kernel's own counters have them (OutSegs is without repeats). */
  const segments = async (): Promise<number> => {
    const { stdout } = await scene.run('cat', '/proc/net/snmp');
    const [names, values] = stdout
      .split('\n')
      .filter((line) => line.startsWith('Tcp:'))
      .map((line) => line.split(' '));
    return ['InSegs', 'OutSegs', 'RetransSegs'].reduce((sum, name) => sum + Number(values![names!.indexOf(name)]), 0);
  };

  const BURST = `import socket
for i in range(200):
    s = socket.socket(); s.connect(('${V4}', ${PORT})); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
    while s.recv(4096): pass
    s.close()`;

  it.each([
    // How much, if anything, is up to who is faster, the sender or the thread that empties the ring. test/e2e/burst.test.ts stops it.
    ['tiny, whatever it loses', 4096],
    ['a quarter of the burst, loses nothing though nobody reads yet', 1 << 18],
    ['large, loses nothing', 1 << 23],
  ])('counts every packet exactly, with a ring that is %s', async (_, ringBytes) => {
    open(ringBytes);
    const before = await segments();
    const client = await scene.run('/usr/bin/python3', '-c', BURST);
    expect(client.stderr).toBe('');
    await expect.poll(async () => source.stats().packetsSeen - ((await segments()) - before)).toBe(0);
    const records = await readAll(source);
    const stats = source.stats();
    expect(stats.packetsSeen).toBe(stats.packetsCaptured + stats.ringDropped + stats.packetsPassedOver);
    expect(records.filter(({ type }) => type === 'packet')).toHaveLength(stats.packetsCaptured);
    expect(stats.connectsSeen).toBe(200);
    expect(connectsOf(records, client.pid)).toHaveLength(200 - stats.connectsDropped);
    if (ringBytes > 4096) expect(stats).toMatchObject({ ringDropped: 0, connectsDropped: 0, truncated: 0 });
    source.close();
    expect(source.stats()).toEqual(stats);
  });

  it('delivers in one read more than fits into one batch, over several', async () => {
    open(1 << 23);
    const script = `import socket
s = socket.socket(); s.connect(('${V4}', ${PORT})); s.sendall(b'GET / HTTP/1.0\\r\\nX: ' + b'y' * 3000000 + b'\\r\\n\\r\\n')
while s.recv(4096): pass`;
    const client = await scene.run('/usr/bin/python3', '-c', script);
    expect(client.stderr).toBe('');
    const records = await readAll(source);
    const [connect] = connectsOf(records, client.pid);
    expect(payload(packetsOf(records, connect!.cookie), 'egress').length).toBe(
      3_000_000 + 'GET / HTTP/1.0\r\nX: \r\n\r\n'.length,
    );
  });

  describe('next, wake and close', () => {
    const ignore = (_: CaptureRecord): void => {};
    /** Whoever waits for so long runs into the test's own limit. */
    const LONG_MS = 3_600_000;

    it('comes back with nothing after the time-out, the event loop running meanwhile', async () => {
      open();
      const started = Date.now();
      let ticks = 0;
      const timer = setInterval(() => ticks++, 10);
      expect(await source.next(300, ignore)).toBe(0);
      clearInterval(timer);
      expect(Date.now() - started).toBeGreaterThanOrEqual(299);
      expect(ticks).toBeGreaterThan(2); // of 30; blocked, there would be none
    });

    it('comes back early when woken, also by a wake before it', async () => {
      open();
      const pending = source.next(LONG_MS, ignore);
      setTimeout(() => source.wake(), 50);
      expect(await pending).toBe(0);
      source.wake();
      expect(await source.next(LONG_MS, ignore)).toBe(0);
      expect(await source.next(20, ignore)).toBe(0);
    });

    it('may be closed while a read is pending, again, and used after', async () => {
      open();
      const pending = source.next(LONG_MS, ignore);
      await new Promise((resolve) => setTimeout(resolve, 50));
      source.close();
      source.close();
      expect(await pending).toBeLessThanOrEqual(0);
      expect(await source.next(LONG_MS, ignore)).toBe(-1);
      source.wake();
      expect(source.stats().packetsSeen).toBe(0);
    });

    it('may be closed before its read got a worker thread', async () => {
      open();
      const pending = source.next(20_000, ignore);
      source.close();
      expect(await pending).toBeLessThanOrEqual(0);
    });

    it('refuses a second read at the same time', async () => {
      open();
      const first = source.next(20_000, ignore);
      await new Promise((resolve) => setTimeout(resolve, 50));
      await expect(source.next(20_000, ignore)).rejects.toMatchObject({ code: 'IMDS_E_READ' });
      source.wake();
      expect(await first).toBe(0);
    });
  });

  describe('what is left behind', () => {
    const descriptors = (pid: number | 'self') => readdirSync(`/proc/${pid}/fd`);
    const expectGone = (ids: readonly number[]) =>
      expect
        .poll(async () => [...(await allProgramIds())].filter((id) => ids.includes(id)), {
          timeout: 20_000,
          interval: 200,
        })
        .toEqual([]);

    it('is nothing after close', async () => {
      const before = new Set(programIds('self', descriptors('self')));
      open();
      const ids = programIds('self', descriptors('self')).filter((id) => !before.has(id));
      const attached = await allProgramIds();
      expect(ids.length).toBeGreaterThanOrEqual(4);
      expect(ids.every((id) => attached.has(id))).toBe(true);
      source.close();
      await expectGone(ids);
      expect(descriptors('self').filter((fd) => programIds('self', [fd]).some((id) => ids.includes(id)))).toEqual([]);
    });

    it('is nothing after kill -9', async () => {
      const child = spawn(process.execPath, [FIXTURE, LIBRARY], { stdio: ['pipe', 'pipe', 'inherit'] });
      const [line] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
      expect(JSON.parse(String(line))).toHaveProperty('description');
      const ids = programIds(child.pid!, descriptors(child.pid!));
      expect(ids.length).toBeGreaterThanOrEqual(4);
      child.kill('SIGKILL');
      await once(child, 'exit');
      await expectGone(ids);
    });
  });

  describe('when the host refuses', () => {
    const fixture = (...command: string[]) => {
      const child = spawn(command[0]!, [...command.slice(1), process.execPath, FIXTURE, LIBRARY], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      return finish(child).then(({ stdout, stderr }) => {
        expect(stderr).toBe('');
        return JSON.parse(stdout) as { code?: number; text?: string; description?: string };
      });
    };

    it('names the missing capabilities', async () => {
      expect(
        await fixture(
          'setpriv',
          // Root in name only keeps the right to read the checkout, wherever it lies.
          '--inh-caps=-all,+dac_read_search',
          '--ambient-caps=+dac_read_search',
          '--reuid=65534',
          '--regid=65534',
          '--clear-groups',
        ),
      ).toEqual({
        code: 2,
        text: 'creating a BPF ring buffer: this process lacks CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON',
      });
    });

    it('names the one capability that is missing', () =>
      // Without CAP_SYS_ADMIN the tree can't be mounted either.
      withCgroup2(async () => {
        const { code, text } = await fixture('setpriv', '--bounding-set=-net_admin,-sys_admin', '--inh-caps=-all');
        expect(code).toBe(2);
        expect(text).toMatch(/CAP_NET_ADMIN/);
      }));

    it('says that loopback is down, without which it can prove nothing', async () => {
      expect(await fixture('unshare', '-n')).toEqual({
        code: 7,
        text: 'self-test: the loopback interface of this network namespace is down (ip link set lo up)',
      });
    });

    it('does without CO-RE where the kernel has no BTF, and says so', async () => {
      const { description } = await fixture(
        ...['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', 'sh'],
      );
      expect(description).toMatch(/ \(without CO-RE\), .*\(the kernel has no BTF\)$/);
    });

    it('mounts cgroup v2 privately where none is mounted', async () => {
      const { description } = await fixture(
        'unshare',
        '-m',
        'sh',
        '-c',
        'for mount in $(awk \'/ - cgroup2 /{print $5}\' /proc/self/mountinfo); do umount -l "$mount"; done; exec "$@"',
        'sh',
      );
      expect(description).toMatch(/, cgroup v2 mounted privately, ring of 64 KiB/);
    });

    describe('in a cgroup namespace, as in a container', () => {
      /** After `before`, its own tree is mounted where the host's was. */
      const contained = async (root: string, before: string) => {
        const group = join(root, `imds-test-ns-${process.pid}`);
        mkdirSync(group);
        try {
          const own = `${before}; umount -l ${root} && mount -t cgroup2 none ${root} && exec "$@"`;
          const enter = `echo $$ > ${group}/cgroup.procs; exec unshare -C -m sh -c '${own}' sh "$@"`;
          return await fixture('sh', '-c', enter, 'sh');
        } finally {
          rmdirSync(group);
        }
      };

      it('says that it sees the namespace only', () =>
        withCgroup2(async (root) => {
          const { description, text } = await contained(root, 'true');
          if (socketsHaveAClass) expect(text).toMatch(/^self-test: /);
          else {
            expect(description).toMatch(/of this cgroup namespace only: processes outside of it are not seen/);
            expect(seesNamespaceOnly(description!)).toBe(true);
          }
        }));

      it("finds the host's tree, wherever it is mounted, and sees all", () =>
        withCgroup2(async (root) => {
          const host = mkdtempSync(join(tmpdir(), 'imds-host-cgroup-'));
          const { description } = await contained(
            root,
            `mount --bind ${root} ${host} && mount -o remount,bind,ro ${host}`,
          );
          rmdirSync(host);
          expect(description).toContain(`, cgroup v2 at ${host}, ring of`);
        }));
    });

    it.each([
      [{ endpoints: [] }, /0 endpoints: between 1 and 1023/],
      [{ endpoints: Array(1024).fill(ENDPOINTS[0]) }, /1024 endpoints: between 1 and 1023/],
      [{ endpoints: [{ address: V4, port: 0 }] }, /Not an IP address with a port/],
      [{ endpoints: [{ address: 'metadata', port: 80 }] }, /Not an IP address with a port: metadata 80/],
      [{ endpoints: ENDPOINTS, ringBytes: 5000 }, /a ring buffer of 5000 bytes: it must be a power of two/],
      [{ endpoints: ENDPOINTS, ringBytes: 2048 }, /at least a page/],
    ])('refuses %j', (options, message) => {
      expect(() => openEbpf(options)).toThrow(
        expect.objectContaining({ code: 'IMDS_E_ARGUMENT', exitStatus: 2, message: expect.stringMatching(message) }),
      );
    });
  });

  itWithBtf('probes each part for itself', () => {
    const probe = probeHost();
    expect(probe.ebpf).toBe('full');
    const checks = new Map(probe.checks.map(({ check, ok }) => [check, ok]));
    for (const name of [
      'libbpf',
      'libpcap',
      'btf',
      'ring_buffer',
      'cgroup2',
      'capability:CAP_NET_ADMIN',
      'core:cgroup/connect4',
      'plain:cgroup_skb/ingress',
    ]) {
      expect([name, checks.get(name)]).toEqual([name, true]);
    }
    expect(checks.has('core:tp_btf/sched_process_exec')).toBe(true);
  });
});
