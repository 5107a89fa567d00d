import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TracerStats } from '../../../src/output/types.js';
import { expectBalanced } from './accounting.js';
import { JsonLines } from './lines.js';
import { until } from './wait.js';

/** The built command line. */
export const MAIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));

export interface EcsProcess {
  pid: number;
  name: string;
  executable?: string;
  args?: string[];
  command_line?: string;
  entity_id?: string;
  user?: { id: string; name?: string };
  parent?: EcsProcess;
}

/** The fields of an event line that tests look at; the rest is there too. */
export interface EcsEvent {
  '@timestamp': string;
  message: string;
  log: { level: string };
  event: { action: string; id?: string };
  source?: { ip: string; port: number };
  destination?: { ip: string; port: number };
  http?: { request?: { method?: string }; response?: { status_code?: number }; version?: string };
  url?: { original?: string; path?: string; query?: string };
  process?: EcsProcess;
  service?: { name?: string };
  container?: { id: string; runtime: string };
  orchestrator?: { resource?: { id?: string } };
  network?: { type?: string };
  user_agent?: { original?: string };
  imds?: {
    verdict?: string;
    severity?: string;
    reasons?: string[];
    attribution?: string;
    attribution_detail?: string;
    ancestors?: { pid: number; name: string; args?: string[] }[];
    netns?: number;
    ttl_seconds?: number;
    token_present?: boolean;
    credential?: { access_key_id?: string };
    unparsed?: { reason: string; bytes: number };
    lost?: Record<string, number>;
    source_detail?: string;
    stats?: TracerStats;
  };
}

export interface TracerEnd {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface Tracer {
  readonly pid: number;
  readonly logDir: string;
  /** Every event written so far, rotated files first. */
  events(): EcsEvent[];
  /** Those of them that stand for requests. */
  requests(): EcsEvent[];
  /** The text log so far, rotated files first. */
  text(): string;
  stdout(): string;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
  /** Sends SIGTERM and resolves when the tracer has ended; rejects where its accounts don't balance. May be called again. */
  stop(): Promise<TracerEnd>;
}

export interface TracerOptions {
  logDir: string;
  /** Arguments after `trace --log-dir DIR`. */
  args?: readonly string[];
  env?: NodeJS.ProcessEnv;
  /** Changes the command, to start the tracer in a network namespace or with fewer rights. The pid must stay its own. */
  wrap?: (argv: readonly string[]) => readonly string[];
  /** The log directory may hold lines that an earlier tracer was killed over. */
  torn?: boolean;
}

export const isRequest = ({ event }: EcsEvent): boolean => event.action === 'imds-request';
const isStart = ({ event }: EcsEvent): boolean => event.action === 'tracer-started';

/** The counters at the end, of a tracer that has stopped. */
export function statsOf(tracer: Tracer): TracerStats {
  const stopped = tracer.events().find(({ event }) => event.action === 'tracer-stopped');
  if (stopped?.imds?.stats === undefined)
    throw new Error(`no \`tracer-stopped\`; the tracer said:\n${tracer.stderr()}`);
  return stopped.imds.stats;
}

/** Starts the built tracer and resolves once it has written a `tracer-started` of its own. */
export async function startTracer(options: TracerOptions): Promise<Tracer> {
  const { logDir, args = [], env, wrap = (argv) => argv } = options;
  const lines = new JsonLines<EcsEvent>(options.torn);
  const events = () => logFiles(logDir, 'imds-events').flatMap((file) => lines.read(file));
  const starts = () => events().filter(isStart).length;
  const startsBefore = starts();
  const command = wrap([process.execPath, MAIN, 'trace', '--log-dir', logDir, ...args]);
  const child = spawn(command[0]!, command.slice(1), {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  let end: TracerEnd | undefined;
  child.once('close', (status, signal) => {
    end = { status, signal, stdout, stderr };
  });

  const stop = async () => {
    if (end === undefined) child.kill('SIGTERM');
    try {
      await until(
        () => `the tracer's end after SIGTERM; it said:\n${stderr}`,
        () => end,
      );
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
    // A log directory may have the lines of earlier ones, and one that was killed has said no last word.
    const all = events();
    if (end!.signal === null) expectBalanced(all.slice(all.findLastIndex(isStart)));
    return end!;
  };
  try {
    await until(
      () => `\`tracer-started\`; the tracer said:\n${stderr}`,
      () => {
        if (end !== undefined) throw new Error(`the tracer ended with ${end.signal ?? end.status}:\n${stderr}`);
        return starts() > startsBefore;
      },
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    pid: child.pid!,
    logDir,
    events,
    requests: () => events().filter(isRequest),
    text: () =>
      logFiles(logDir, 'imds-trace')
        .map((file) => readFileSync(file, 'utf8'))
        .join(''),
    stdout: () => stdout,
    stderr: () => stderr,
    kill: (signal) => child.kill(signal),
    stop,
  };
}

/** Oldest first: a rotated file was written to before the one that replaced it. */
function logFiles(folder: string, prefix: string): string[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return []; // not yet made
  }
  return names
    .filter((name) => name.startsWith(prefix))
    .map((name) => join(folder, name))
    .map((file) => ({ file, written: statSync(file, { throwIfNoEntry: false })?.mtimeMs }))
    .filter(({ written }) => written !== undefined)
    .sort((a, b) => a.written! - b.written!)
    .map(({ file }) => file);
}
