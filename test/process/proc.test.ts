import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { MAX_ARGV_BYTES, ProcReader, parseStat, splitArguments } from '../../src/process/proc.js';
import { CleanUp, PYTHON, start, statLine, tree } from './support.js';

const cleanUp = new CleanUp();
afterEach(() => cleanUp.run());
const real = new ProcReader('/proc');

describe('parseStat', () => {
  it.each([
    ['a plain name', statLine(7, 'curl', 5, 90268), { comm: 'curl', parentPid: 5, startTicks: 90268 }],
    ['parentheses', statLine(7, ') R 1 (', 5, 3), { comm: ') R 1 (', parentPid: 5, startTicks: 3 }],
    ['a line break', statLine(7, 'a\n8 (b) R 1', 5, 3), { comm: 'a\n8 (b) R 1', parentPid: 5, startTicks: 3 }],
    ['no name', statLine(7, '', 0, 0), { comm: '', parentPid: 0, startTicks: 0 }],
    ['an old process of a long uptime', statLine(7, 'x', 1, 9e12), { comm: 'x', parentPid: 1, startTicks: 9e12 }],
    ['a line that was cut', '7 (curl) S 5 1 1', undefined],
    ['no line', '', undefined],
    ['parentheses the wrong way', ') 1 (', undefined],
  ])('%s', (_, text, expected) => {
    expect(parseStat(text)).toEqual(expected);
  });
});

describe('splitArguments', () => {
  it.each([
    ['', []],
    ['\0', []],
    ['curl\0-s\0', ['curl', '-s']],
    ['curl\0\0-s\0', ['curl', '', '-s']],
    ['curl\0\0', ['curl', '']],
    ['nginx: worker process\0\0\0\0\0\0', ['nginx: worker process']],
    ['cut\0in the midd', ['cut', 'in the midd']],
  ])('%j', (text, expected) => {
    expect(splitArguments(text)).toEqual(expected);
  });
});

describe('ProcReader on the real /proc', () => {
  it('reads this process', () => {
    const snapshot = real.snapshot(process.pid)!;
    expect(snapshot.stat.parentPid).toBe(process.ppid);
    expect(snapshot.executable).toBe(process.execPath);
    expect(snapshot.argv).toBe(readFileSync('/proc/self/cmdline', 'latin1'));
    expect(real.uid(process.pid)).toBe(process.getuid!());
    expect(real.netns(process.pid)).toBeGreaterThan(0);
    expect(real.pids()).toContain(process.pid);
  });

  it('reads a name that imitates the rest of the line', async () => {
    const name = 'a) R 1 (\nb\\)';
    const child = start(cleanUp, PYTHON, [
      '-c',
      `open("/proc/self/comm","wb").write(${JSON.stringify(name)}.encode()); print("ready", flush=True); input()`,
    ]);
    await child.line(0);
    expect(real.stat(child.pid)).toMatchObject({ comm: name, parentPid: process.pid });
    expect(real.uid(child.pid)).toBe(process.getuid!());
  });

  it('cuts 128 KiB of arguments at 8 KiB and says so', async () => {
    const child = start(cleanUp, PYTHON, ['-c', 'print("ready", flush=True); input()', 'x'.repeat(128 * 1024 - 1)]);
    await child.line(0);
    const args = real.arguments(child.pid)!;
    expect(args.truncated).toBe(true);
    expect(args.argv).toHaveLength(MAX_ARGV_BYTES);
  });

  it('gives nothing for a zombie, a process that is gone and one that never was', async () => {
    const child = start(cleanUp, PYTHON, [
      '-c',
      'import os,time\npid=os.fork()\nif pid==0: os._exit(0)\ntime.sleep(0.1)\nprint(pid, flush=True)\ninput()',
    ]);
    const zombie = Number(await child.line(0));
    expect(real.arguments(zombie)?.argv ?? '').toBe('');
    expect(real.netns(zombie)).toBeUndefined();
    expect(real.openFiles(zombie, 10).names).toEqual([]);
    child.tell('');
    await child.ended();
    expect(real.snapshot(child.pid)).toBeUndefined();
    expect(real.snapshot(999_999_999)).toBeUndefined();
    expect(real.openFiles(999_999_999, 10)).toEqual({ names: [], more: false });
  });

  it('keeps to the limit of open files', async () => {
    const child = start(cleanUp, PYTHON, [
      '-c',
      'f=[open("/dev/null") for _ in range(300)]; print("ready", flush=True); input()',
    ]);
    await child.line(0);
    const some = real.openFiles(child.pid, 100);
    expect(some.names).toHaveLength(100);
    expect(some.more).toBe(true);
    const all = real.openFiles(child.pid, 4096);
    expect(all.names.length).toBeGreaterThan(300);
    expect(all.more).toBe(false);
  });
});

describe('ProcReader on a recorded tree', () => {
  it('keeps " (deleted)" and bytes that are no text', () => {
    const root = tree(cleanUp, {
      '7/stat': statLine(7, 'x', 1, 5),
      '7/cmdline': 'x\0\xff\xfe\0',
      '7/exe': '-> /opt/x (deleted)',
    });
    expect(new ProcReader(root).snapshot(7)).toMatchObject({ executable: '/opt/x (deleted)', argv: 'x\0\xff\xfe\0' });
  });

  it('goes through a file in whole lines, over lines without end', () => {
    const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i}\n`).join('');
    const root = tree(cleanUp, { a: `${lines}${'x'.repeat(200_000)}\n${lines}end` });
    const pieces: string[] = [];
    expect(new ProcReader(root).lines('a', (piece) => pieces.push(piece.toString('latin1')) < 0)).toBe(true);
    for (const piece of pieces.slice(0, -1)) expect(piece.endsWith('\n')).toBe(true);
    const text = pieces.join('');
    expect(text.startsWith(lines)).toBe(true);
    expect(text.endsWith(`${lines}end`)).toBe(true);
    expect(new ProcReader(root).lines('none', () => true)).toBe(false);
  });
});
