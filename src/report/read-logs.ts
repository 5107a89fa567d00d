import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { messageOf } from '../errors.js';
import { escapeText } from '../output/escape.js';
import { packageRoot } from '../package-root.js';
import { Gathered, type GatheredJson } from './gather.js';
import type { Period } from './hosts.js';
import { readLines } from './lines.js';
import type { LogFile } from './log-files.js';

/** Below, starting threads takes longer than they save. */
const WORTH_THREADS_BYTES = 64 * 1024 * 1024;
const MAX_THREADS = 8;

export interface ReadOptions {
  groups: readonly (readonly LogFile[])[];
  period: Period;
  /** How many threads read; by default what the processors and the size of the logs are good for. */
  threads?: number;
  /** Bytes of the files that were read since the last call. */
  onProgress: (bytes: number) => void;
  signal?: AbortSignal;
}

export interface ReadResult {
  gathered: Gathered;
  /** Files that could not be read to their end, for people. */
  problems: string[];
}

/** Reads all logs into one sum. */
export async function readLogs({ groups, period, threads, onProgress, signal }: ReadOptions): Promise<ReadResult> {
  const bytes = groups.flat().reduce((sum, file) => sum + file.bytes, 0);
  const wanted = threads ?? (bytes < WORTH_THREADS_BYTES ? 1 : Math.min(availableParallelism(), MAX_THREADS));
  const workers = Math.min(wanted, groups.length);
  if (workers <= 1) {
    return readGroups(groups, period, (read) => {
      onProgress(read);
      return signal?.aborted !== true;
    });
  }
  const shares = share(groups, workers);
  const results = await Promise.all(shares.map((part) => inThread(part, period, onProgress, signal)));
  const gathered = new Gathered(period);
  for (const { gathered: json } of results) gathered.merge(json);
  return { gathered, problems: results.flatMap(({ problems }) => problems) };
}

/** Reads logs one after the other. `progress` as LineReader has it. */
export async function readGroups(
  groups: readonly (readonly LogFile[])[],
  period: Period,
  progress: (bytes: number) => boolean,
): Promise<ReadResult> {
  const gathered = new Gathered(period);
  const problems: string[] = [];
  let stopped = false;
  const reader = gathered.reader((bytes) => {
    stopped = !progress(bytes);
    return !stopped;
  });
  for (const { path } of groups.flat()) {
    try {
      await readLines(path, reader);
    } catch (error) {
      problems.push(escapeText(`${path}: ${messageOf(error)}`));
    }
    if (stopped) {
      problems.push('it was stopped before the end of the logs');
      break;
    }
  }
  return { gathered, problems };
}

/** The groups in so many parts of about the same size: the largest first, each to the part that has least. */
function share(groups: readonly (readonly LogFile[])[], parts: number): LogFile[][][] {
  const sized = groups.map((files) => ({ files, bytes: files.reduce((sum, { bytes }) => sum + bytes, 0) }));
  const shares = Array.from({ length: parts }, () => ({ groups: [] as LogFile[][], bytes: 0 }));
  for (const { files, bytes } of sized.sort((a, b) => b.bytes - a.bytes)) {
    const least = shares.reduce((a, b) => (b.bytes < a.bytes ? b : a));
    least.groups.push([...files]);
    least.bytes += bytes;
  }
  return shares.map(({ groups: part }) => part);
}

/** From a reading thread to the one that waits for it. */
export type ThreadMessage = { read: number } | { gathered: GatheredJson; problems: string[] };

function inThread(
  groups: LogFile[][],
  period: Period,
  onProgress: (bytes: number) => void,
  signal: AbortSignal | undefined,
): Promise<{ gathered: GatheredJson; problems: string[] }> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(join(packageRoot(), 'dist/report/read-thread.js'), { workerData: { groups, period } });
    const stop = (): void => worker.postMessage('stop');
    signal?.addEventListener('abort', stop);
    if (signal?.aborted) stop();
    worker.on('message', (message: ThreadMessage) => {
      if ('read' in message) onProgress(message.read);
      else resolve(message);
    });
    worker.on('error', reject);
    worker.on('exit', () => {
      signal?.removeEventListener('abort', stop);
      reject(new Error('a reading thread ended early'));
    });
  });
}
