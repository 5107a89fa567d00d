import type { CaptureRecord, CaptureSource } from './capture/types.js';
import type { Pipeline, ProcessSource } from './pipeline.js';
import type { Attribution } from './process/types.js';

/** The longest wait for records, in milliseconds: of a pipe that is quiet the caller hears so often. */
const WAIT_MS = 500;

const NO_PROCESS: Attribution = { how: 'none', detail: 'no_process_information' };

/** Packets of a file: no process of this host is behind them. */
export const NO_PROCESSES: ProcessSource = {
  always: NO_PROCESS,
  onConnect: () => {},
  onProcess: () => {},
  forFlow: () => NO_PROCESS,
  forget: () => {},
};

/**
 * Moves the packets of a file through the pipeline. Time is that of the packets: deadlines and idle connections are
 * judged by it, so that the same file gives the same events at any speed.
 */
export async function replay(options: {
  source: CaptureSource;
  pipeline: Pipeline;
  /** Called before the first packet with its time. */
  beforeFirst: (time: number) => void;
  /** Called after each batch, each WAIT_MS without one, and when `full` says so; `false` ends the replay. */
  afterBatch: () => Promise<boolean>;
  /** No more should be written before `afterBatch`. */
  full: () => boolean;
}): Promise<void> {
  const { source, pipeline } = options;
  let time: number | undefined;
  let handed: number;
  let begun = false;
  const onRecord = (record: CaptureRecord): void => {
    if (time === undefined) options.beforeFirst(record.time);
    if (!begun) pipeline.beginBatch();
    begun = true;
    time = record.time;
    pipeline.tick(time);
    pipeline.accept(record);
  };
  do {
    handed = await source.next(WAIT_MS, onRecord, options.full);
    if (begun) pipeline.endBatch();
    begun = false;
  } while ((await options.afterBatch()) && handed >= 0);
  while (!pipeline.finish(time ?? 0, options.full)) await options.afterBatch();
}
