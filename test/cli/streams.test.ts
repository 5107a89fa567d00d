import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Finished, run } from '../e2e/support/run.js';
import { MAIN } from '../e2e/support/tracer.js';
import { request, started, stopped } from '../report/logs.js';
import { connection, GET, onLink, pcap } from '../support/packets.js';

/** A file can't grow beyond this, as on a disk that gets full: the last write takes less than it was given. */
const ROOM = 4096;

let folder: string;
let commands: Record<'report' | 'inventory' | 'replay', string[]>;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-streams-'));
  const logs = join(folder, 'imds-events.ndjson');
  writeFileSync(logs, [started(), request({ at: 1 }), stopped({ at: 3 })].map((line) => `${line}\n`).join(''));
  const root = join(folder, 'root');
  mkdirSync(root);
  for (let i = 0; i < 20; i++) writeFileSync(join(root, `${i}.sh`), 'curl http://100.100.100.200/latest/user-data\n');
  const capture = join(folder, 'many.pcap');
  const many = Array.from({ length: 40 }, (_, i) =>
    connection({ request: GET(`/${i}`), client: { address: '10.0.0.5', port: 1024 + i }, time: i * 10 }),
  ).flat();
  writeFileSync(capture, pcap(1, onLink('ethernet', many)));
  commands = {
    report: ['report', '--format', 'json', logs],
    inventory: ['inventory', '--format', 'json', '--root', root],
    replay: ['replay', '--json', capture],
  };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the program by a line of a shell in which `"$@"` is its command line. */
const inShell = (line: string, args: readonly string[]): Promise<Finished> =>
  run(['bash', '-c', line, 'bash', process.execPath, MAIN, ...args]);

const UNWRITABLE = /standard output can't be written: E(NOSPC|FBIG)/;

describe('a disk without room for what a command prints', () => {
  it.each([
    ['report', 2],
    ['inventory', 2],
    ['replay', 4],
  ] as const)('%s says so, and does not end as if all were there', async (name, status) => {
    const full = await inShell('"$@" >/dev/full', commands[name]);
    expect(full).toMatchObject({ status, stderr: expect.stringMatching(UNWRITABLE) });

    const file = join(folder, `${name}.out`);
    // A process that ignores SIGXFSZ gets EFBIG (setrlimit(2)); `ulimit -f` counts in 1024 bytes.
    const half = await inShell(`trap "" XFSZ; ulimit -f ${ROOM / 1024}; "$@" >"${file}"`, commands[name]);
    expect(half).toMatchObject({ status, stderr: expect.stringMatching(UNWRITABLE) });
    expect(statSync(file).size).toBe(ROOM);

    const whole = await inShell(`"$@" >"${file}"`, commands[name]);
    const piped = await inShell('"$@"', commands[name]);
    const withoutTime = (text: string) => text.replace(/"taken": .*/, '').replace(/"id":"[^"]*"/g, '');
    expect(piped.stdout.length).toBeGreaterThan(ROOM);
    expect(withoutTime(readFileSync(file, 'utf8'))).toBe(withoutTime(piped.stdout));
    expect(whole.status).toBe(piped.status);
  });

  it('is no fault of the program: --help', async () => {
    const { status, stderr } = await inShell('"$@" >/dev/full', ['--help']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringMatching(UNWRITABLE) });
  });
});

describe('nobody reads', () => {
  /** A pipe whose reading end is closed. */
  const GONE = 'exec 3> >(exec true); wait $!; ';

  it.each([
    [['--help'], 0],
    [['report', 'LOGS'], 0],
    [['service', 'status', '--root', 'FOLDER'], 3],
  ])('what %j prints', async (args, status) => {
    const named = args.map((word) => ({ LOGS: commands.report.at(-1)!, FOLDER: folder })[word] ?? word);
    expect(await inShell(`${GONE}"$@" >&3`, named)).toMatchObject({ status, stderr: '' });
  });

  it.each([GONE, 'exec 3>/dev/full; '])('what is wrong, and the exit status says it all the same: %s', async (open) => {
    expect(await inShell(`${open}"$@" 2>&3`, ['trace', '--nonsense'])).toMatchObject({ status: 2, stdout: '' });
  });
});
