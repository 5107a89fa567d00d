import { spawn } from 'node:child_process';
import { PATIENCE } from '../../support/patience.js';

export interface Finished {
  pid: number;
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  /** Standard input; empty by default. */
  input?: string | Buffer;
  /** Added to the environment of the test. */
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  timeoutMs?: number;
}

/** Runs a command to its end, whatever its exit status; kills it and rejects when it takes too long. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { input = '', env, cwd } = options;
  const timeoutMs = (options.timeoutMs ?? 30_000) * PATIENCE;
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0]!, argv.slice(1), {
      env: { ...process.env, ...env },
      ...(cwd === undefined ? {} : { cwd }),
      detached: true, // so that what it started can be killed with it
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdin.on('error', () => {}); // a command need not read its input
    child.stdin.end(input);
    const timer = setTimeout(() => {
      process.kill(-child.pid!, 'SIGKILL');
      reject(new Error(`took longer than ${timeoutMs} ms: ${argv.join(' ')}\n${stderr}`));
    }, timeoutMs);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once('close', (status, signal) => {
      clearTimeout(timer);
      resolve({ pid: child.pid!, status, signal, stdout, stderr });
    });
  });
}

/** As `run`, and rejects when the exit status is not 0. */
export async function runOk(argv: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const finished = await run(argv, options);
  if (finished.status !== 0) {
    const how = finished.signal ?? `status ${finished.status}`;
    throw new Error(`${argv.join(' ')} ended with ${how}:\n${finished.stderr || finished.stdout}`);
  }
  return finished;
}
