// A thread of its own for a part of the logs: see read-logs.ts.
import { parentPort, workerData } from 'node:worker_threads';
import type { Period } from './hosts.js';
import type { LogFile } from './log-files.js';
import { readGroups, type ThreadMessage } from './read-logs.js';

const { groups, period } = workerData as { groups: LogFile[][]; period: Period };
/** Bytes that are told at once: a message for each chunk would be many. */
const TELL_BYTES = 16 * 1024 * 1024;

let stopped = false;
parentPort!.on('message', () => {
  stopped = true;
});
const tell = (message: ThreadMessage): void => parentPort!.postMessage(message);

async function readAll(): Promise<void> {
  let read = 0;
  const { gathered, problems } = await readGroups(groups, period, (bytes) => {
    read += bytes;
    if (read >= TELL_BYTES) {
      tell({ read });
      read = 0;
    }
    return !stopped;
  });
  tell({ read });
  tell({ gathered: gathered.toJSON(), problems });
  parentPort!.close();
}

// Where it fails, the error is unhandled, which ends the thread and reaches its starter as the worker's.
void readAll();
