import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ConnectRecord, KernelProcess } from '../../src/capture/types.js';
import { parseStat } from '../../src/process/proc.js';

export const EMPTY = Buffer.alloc(0);
export const isRoot = process.getuid?.() === 0;
export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A process as the kernel would report it: a start time within the clock tick that /proc shows. */
export function kernelProcess(pid: number): KernelProcess {
  const stat = parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))!;
  return {
    pid,
    startBootNs: BigInt(stat.startTicks) * 10_000_000n + 1_234_567n,
    comm: Buffer.from(stat.comm, 'latin1'),
  };
}

export function connectRecord(fields: Partial<ConnectRecord> = {}): ConnectRecord {
  return {
    type: 'connect',
    time: Date.now(),
    cookie: 1n,
    family: 4,
    remoteAddress: '100.100.100.200',
    remotePort: 80,
    process: { pid: 999_999_999, startBootNs: 50_000_000_000n, comm: Buffer.from('curl') },
    uid: 0,
    gid: 0,
    cgroupId: 7n,
    netns: 4_026_531_840,
    argv: Buffer.from('curl\0-s\0http://100.100.100.200/\0'),
    argvTruncated: false,
    executable: Buffer.from('/usr/bin/curl'),
    cgroupPath: Buffer.from('/system.slice/ssh.service'),
    cgroupV1Path: EMPTY,
    ancestors: [],
    ...fields,
  };
}

/** A flow with a cookie; the addresses are of no socket. */
export const flow = (cookie: bigint, fields: object = {}) => ({
  cookie,
  cgroupId: 0n,
  localAddress: '192.0.2.77',
  localPort: 4711,
  remoteAddress: '198.51.100.9',
  remotePort: 80,
  ...fields,
});

/** Things to undo, the last first. */
export class CleanUp {
  readonly #steps: (() => void)[] = [];
  add(step: () => void): void {
    this.#steps.push(step);
  }
  run(): void {
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        step();
      } catch {
        // What is gone already needs no undoing.
      }
    }
  }
}

/** A child that says something when it is ready; `lines` are what it has written so far. */
export class Child {
  readonly lines: string[] = [];
  #rest = '';
  constructor(readonly process: ChildProcess) {
    process.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const parts = (this.#rest + text).split('\n');
      this.#rest = parts.pop()!;
      this.lines.push(...parts);
    });
  }
  get pid(): number {
    return this.process.pid!;
  }
  async line(number: number): Promise<string> {
    for (let i = 0; i < 500 && this.lines.length <= number; i++) await sleep(10);
    const line = this.lines[number];
    if (line === undefined) throw new Error(`the child did not write line ${number}`);
    return line;
  }
  tell(text: string): void {
    this.process.stdin!.write(`${text}\n`);
  }
  async ended(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      await new Promise((resolve) => this.process.once('exit', resolve));
    }
  }
}

export function start(cleanUp: CleanUp, command: string, args: string[]): Child {
  const child = new Child(spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] }));
  cleanUp.add(() => child.process.kill('SIGKILL'));
  return child;
}

/** The interpreter itself, not a wrapper script: its pid is then the one that connects. */
export const PYTHON = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).trim();

/** Files (text) and symbolic links (`-> target`) below a new directory. */
export function tree(cleanUp: CleanUp, files: Record<string, string>): string {
  // Ten thousand links are made in a tenth of a second in memory, in ten on some disks.
  const root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'imds-proc-'));
  cleanUp.add(() => rmSync(root, { recursive: true, force: true }));
  addTo(root, files);
  return root;
}

export function addTo(root: string, files: Record<string, string>): void {
  const folders = new Set(Object.keys(files).map((path) => dirname(join(root, path))));
  for (const folder of folders) mkdirSync(folder, { recursive: true });
  for (const [path, content] of Object.entries(files)) {
    if (content.startsWith('-> ')) symlinkSync(content.slice(3), join(root, path));
    else writeFileSync(join(root, path), content, 'latin1');
  }
}

export const statLine = (pid: number, comm: string, parentPid: number, startTicks: number): string =>
  `${pid} (${comm}) S ${parentPid} 1 1 0 -1 4194304 99 0 0 0 0 0 0 0 20 0 1 0 ${startTicks} 3133440 383 18446744073709551615\n`;

/** For tests of what is found: a busy machine must not cut the search short. */
export const NO_HURRY = { wholeMs: 60_000, sharedMs: 60_000 };
