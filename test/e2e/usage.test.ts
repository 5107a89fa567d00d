import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeOnKernel } from './support/kernel.js';
import { expectNoOrphanedLink } from './support/links.js';
import { type Finished, run } from './support/run.js';
import { MAIN } from './support/tracer.js';

const NOBODY = 65_534;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-e2e-usage-'));
  chmodSync(folder, 0o755);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What is mounted of cgroup v2; of the rest, other tests mount and unmount at the same time. */
const cgroupMounts = () =>
  readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(' cgroup2 '));

const tracer = (args: readonly string[], prefix: readonly string[] = []): Promise<Finished> =>
  run([...prefix, process.execPath, MAIN, ...args]);

/** It ended with this status, said why on standard error for people, and nothing else. */
function expectSaid({ status, stdout, stderr }: Finished, wanted: number, why: RegExp): void {
  expect({ status, stdout, stderr }).toEqual({ status: wanted, stdout: '', stderr: expect.stringMatching(why) });
  expect(stderr).not.toMatch(/^\s+at /m); // no stack
  expect(stderr).not.toContain('internal error');
}

describe('wrong usage: exit status 2', () => {
  test.each<[string, string[], RegExp]>([
    ['an unknown command', ['trade'], /unknown command|did you mean/i],
    ['an unknown option', ['trace', '--providers', 'aws'], /unknown option/],
    ['an option without its value', ['trace', '--log-dir'], /argument missing/],
    ['an argument too many', ['trace', 'everything'], /too many arguments/],
    ['an unknown provider', ['trace', '--provider', 'alibab'], /"alibab".*did you mean "alibaba"/],
    ['an unknown source', ['trace', '--source', 'magic'], /"magic".*\[IMDS_BAD_VALUE\]/],
    ['a duration without a unit', ['trace', '--duration', '90'], /"90" is no duration.*\n.*90s/],
    ['a duration of nothing', ['trace', '--duration', '0s'], /"0s" is no duration/],
    ['a name for an address', ['trace', '--endpoint', 'example.com'], /"example.com" is no address/],
    ['a port that is none', ['trace', '--endpoint', '100.100.100.200:65536'], /is no address/],
    ['a ring that is no power of two', ['trace', '--ring-size', '5000'], /5000 can't be a ring buffer's size/],
    [
      'a configuration that is not there',
      ['trace', '--config', '/nonexistent/c.yaml'],
      /\/nonexistent\/c\.yaml can't be read/,
    ],
    ['a folder for a configuration', ['trace', '--config', '/proc'], /\/proc can't be read/],
  ])('%s', async (_, args, why) => {
    expectSaid(await tracer(args), 2, why);
  });

  test.each<[string, string, RegExp]>([
    [
      'an unknown key',
      'log-dirr: /tmp/x\n',
      /unknown key at .*config\.yaml:1: "log-dirr" \(did you mean "log-dir"\?\)/,
    ],
    ['no YAML', 'provider: [aws\n', /is no valid YAML/],
    ['no mapping', '- aws\n', /is no mapping/],
    ['a wrong value', 'provider: [aws, azur]\n', /"azur" is not known/],
    ['a value of a wrong type', 'quiet: 7\n', /quiet \(.*config\.yaml:1\): "7" is neither true nor false/],
    ['binary data', '\0\x01\x02', /configuration/],
  ])('a configuration with %s', async (_, text, why) => {
    const file = join(folder, 'config.yaml');
    writeFileSync(file, text);
    expectSaid(await tracer(['trace', '--config', file]), 2, why);
  });

  describeOnKernel('a log directory that can not be used', () => {
    test.each<[string, () => string, RegExp]>([
      [
        'is a file',
        () => {
          writeFileSync(join(folder, 'file'), '');
          return join(folder, 'file');
        },
        /cannot use .*\/file for logs/,
      ],
      ['is below a file', () => join(folder, 'file', 'below'), /cannot use .*\/file\/below for logs/],
      ['is on a file system that takes no files', () => '/proc/imds', /cannot use \/proc\/imds for logs/],
      [
        "is another user's",
        () => {
          mkdirSync(join(folder, 'theirs'));
          chownSync(join(folder, 'theirs'), NOBODY, NOBODY);
          return join(folder, 'theirs');
        },
        /belongs to user 65534 .*\n {2}Give another directory with --log-dir: the service/,
      ],
      [
        "has another user's file for a log",
        () => {
          mkdirSync(join(folder, 'planted'));
          writeFileSync(join(folder, 'planted', 'imds-trace.log'), '');
          chownSync(join(folder, 'planted', 'imds-trace.log'), NOBODY, NOBODY);
          return join(folder, 'planted');
        },
        /imds-trace\.log for logs: it is not a plain file of this user/,
      ],
      [
        'has a symbolic link for a log',
        () => {
          mkdirSync(join(folder, 'linked'));
          symlinkSync('/etc/passwd', join(folder, 'linked', 'imds-events.ndjson'));
          return join(folder, 'linked');
        },
        /imds-events\.ndjson for logs/,
      ],
    ])('%s', async (_, make, why) => {
      const passwd = readFileSync('/etc/passwd');
      expectSaid(await tracer(['trace', '--duration', '1s', '--log-dir', make()]), 2, why);
      expect(readFileSync('/etc/passwd').equals(passwd)).toBe(true);
      await expectNoOrphanedLink();
    });
  });
});

test.each([[['--version']], [['--help']], [['trace', '--help']], [['doctor', '--help']]])(
  'imds-tracer %j',
  async (args) => {
    const { status, stdout, stderr } = await tracer(args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(args.includes('--help') ? /Examples:/ : /^\d+\.\d+\.\d+\n$/);
  },
);

describeOnKernel('a host that can not capture: exit status 3, and nothing is left attached', () => {
  // Root in name only keeps the right to read the checkout, wherever it lies.
  const asNobody = [
    'setpriv',
    '--reuid',
    '65534',
    '--regid',
    '65534',
    '--clear-groups',
    '--inh-caps',
    '+dac_override',
    '--ambient-caps',
    '+dac_override',
  ];
  const without = (...capabilities: string[]) => [
    'setpriv',
    '--bounding-set',
    capabilities.map((name) => `-${name}`).join(','),
  ];
  const noCgroup = [
    'unshare',
    '--mount',
    'sh',
    '-c',
    'grep " cgroup2\\? " /proc/self/mounts | cut -d" " -f2 | sort -r | xargs -n1 umount -l; exec "$@"',
    'sh',
  ];

  test.each<[string, string[], string[], RegExp]>([
    ['not root', asNobody, [], /\[IMDS_\w+\]\n {2}.*[Rr]un as root/],
    ['not root, with eBPF asked for', asNobody, ['--source', 'ebpf'], /\[IMDS_E_PERMISSION\]\n {2}Run as root/],
    ['without the capability for BPF', without('sys_admin', 'bpf'), ['--source', 'ebpf'], /\[IMDS_E_PERMISSION\]/],
    ['without the capability to attach', without('sys_admin', 'net_admin'), ['--source', 'ebpf'], /\[IMDS_E_\w+\]/],
    [
      'no cgroup v2, and no right to mount it',
      [...noCgroup, ...without('sys_admin')],
      ['--source', 'ebpf'],
      /\[IMDS_E_(NO_CGROUP2|PERMISSION)\]/,
    ],
    [
      'no loopback for the self-test, after all was attached',
      ['unshare', '--net'],
      ['--source', 'ebpf'],
      /\[IMDS_E_SELF_TEST\]/,
    ],
    [
      'an address that is on no interface, for libpcap',
      [],
      ['--source', 'pcap', '--interface', 'no-such0'],
      /no-such0/,
    ],
  ])('%s', async (name, prefix, args, why) => {
    const logDir = join(folder, name.replaceAll(/[^a-z]/g, '-'));
    mkdirSync(logDir, { mode: 0o700 });
    if (prefix === asNobody) chownSync(logDir, NOBODY, NOBODY);
    const mounts = cgroupMounts();

    expectSaid(await tracer(['trace', '--duration', '1s', '--log-dir', logDir, ...args], prefix), 3, why);

    expect(readFileSync(join(logDir, 'imds-events.ndjson'), 'utf8')).toBe(''); // it never said that it had started
    await expectNoOrphanedLink();
    expect(cgroupMounts()).toEqual(mounts);
  });

  test.each([[[]], [['--json']]])('doctor %j', async (args) => {
    const { status, stdout, stderr } = await tracer(['doctor', ...args], asNobody);
    expect({ status, stderr }).toEqual({
      status: 3,
      stderr: expect.stringMatching(/\[IMDS_\w+\].*\n {2}.*Run as root/),
    });
    if (args.length > 0) expect(JSON.parse(stdout)).toMatchObject({ source: { chosen: 'none' } });
    else expect(stdout).toMatch(/^no {3}capability:CAP_BPF .*This host can’t capture\.$/ms);
  });

  test('where cgroup v2 is not mounted, it is mounted privately: nobody sees it', async () => {
    const logDir = join(folder, 'private-mount');
    const mounts = cgroupMounts();
    const { status, stderr } = await tracer(
      ['trace', '--source', 'ebpf', '--provider', 'volcengine', '--duration', '1s', '--quiet', '--log-dir', logDir],
      noCgroup,
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(readFileSync(join(logDir, 'imds-trace.log'), 'utf8')).toMatch(/tracer-started .*source:ebpf/);
    expect(cgroupMounts()).toEqual(mounts);
    await expectNoOrphanedLink();
  });
});
