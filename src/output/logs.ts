import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Logger, type LoggerOptions, pino } from 'pino';
import type { Level } from '../imds/types.js';
import type { EventContext } from './context.js';
import { ecsFields, ecsLog } from './ecs.js';
import { escapeJson } from './escape.js';
import { FORMATTERS, type JsonFormat } from './formats.js';
import { PrivateDirectory } from './private-directory.js';
import type { ShownEvent } from './redact.js';
import { RotatingFile, type RotationOptions } from './rotating-file.js';
import type { TextLine } from './text.js';

/** The levels of the interface, in pino's numbers for the like (NOTICE between info and warn, as in syslog). */
const LEVELS: Readonly<Record<Level, number>> = { INFO: 30, NOTICE: 35, WARNING: 40, ERROR: 50 };

const LOGGER_OPTIONS: LoggerOptions<Level, true> = {
  // As an option, pino would look for `INFO` in lower case: set below.
  level: 'silent',
  customLevels: LEVELS,
  useOnlyCustomLevels: true,
  base: null,
  // The event has its own time: the request's.
  timestamp: false,
  messageKey: 'message',
  formatters: { level: (label) => ({ log: ecsLog(label as Level) }) },
};

/** Both files together stay under about 1.1 GiB. */
const ROTATION: RotationOptions = { maxBytes: 50 * 1024 * 1024, maxFiles: 10 };

/**
 * While more than this waits for the disk, no more should be made, but not for longer than this at a time: captured packets
 * wait in the kernel, in a fraction of the room that their lines take; but a disk that hangs must not stop the tracer.
 */
const ENOUGH_PENDING_BYTES = 1024 * 1024;
const WAIT_FOR_DISK_MS = 50;

/** What closing may take, in milliseconds. */
const CLOSE_WITHIN_MS = 900;

/** The log directory: `imds-trace.log`, a line per event, and `imds-events.ndjson`, an object per line. */
export class LogFiles {
  #directory: PrivateDirectory;
  readonly #path: string;
  readonly #context: EventContext;
  readonly #format: JsonFormat;
  readonly #trace: RotatingFile;
  readonly #events: RotatingFile;
  readonly #logger: Logger<Level, true>;
  /** The text that belongs to the object that pino is serialising. */
  #line = '';
  #errors = 0;
  /** The process ends without closing: by an error that nobody caught, or by a second signal. */
  readonly #atExit = (): void => {
    this.#trace.flushAtExit();
    this.#events.flushAtExit();
  };

  /** Opens or creates directory and files. Throws TracerError where the directory can't be used. */
  constructor(
    directory: string,
    context: EventContext,
    rotation: RotationOptions = ROTATION,
    format: JsonFormat = 'ecs',
  ) {
    this.#path = directory;
    this.#context = context;
    this.#format = format;
    this.#directory = new PrivateDirectory(directory);
    const count = (errors: number): void => {
      this.#errors += errors;
    };
    this.#trace = new RotatingFile(this.#directory, 'imds-trace', 'log', rotation, count);
    this.#events = new RotatingFile(this.#directory, 'imds-events', 'ndjson', rotation, count);
    this.#logger = pino<Level, true>(LOGGER_OPTIONS, {
      write: (json: string) => {
        this.#events.append(escapeJson(json.trimEnd()));
        this.#trace.append(this.#line);
      },
    });
    this.#logger.level = 'INFO';
    process.once('exit', this.#atExit);
  }

  /** Lines that were lost and file operations that failed (and are tried again), so far. */
  get errors(): number {
    return this.#errors;
  }

  /** Adds the event to both files. `text` is its text form. Never throws. */
  write(event: ShownEvent, text: TextLine): void {
    if (this.#format === 'ecs') {
      this.#line = text.line;
      this.#logger[text.level](ecsFields(event, this.#context), text.message);
      return;
    }
    // The logger's own members, level and message, are those of ECS.
    this.#events.append(FORMATTERS[this.#format](event, this.#context, text));
    this.#trace.append(text.line);
  }

  /** Resolves when there is room for more lines, soon in any case. Never rejects. */
  async room(): Promise<void> {
    const end = performance.now() + WAIT_FOR_DISK_MS;
    while (this.#trace.pendingBytes + this.#events.pendingBytes > ENOUGH_PENDING_BYTES && performance.now() < end) {
      await sleep(1);
    }
  }

  /** Goes on in new files of the same names, after an outside logrotate has renamed them. Never throws. */
  reopen(): void {
    const old = this.#directory;
    try {
      this.#directory = new PrivateDirectory(this.#path);
    } catch {
      // The directory as it was is still open; going on there loses nothing.
      this.#errors += 1;
      return;
    }
    this.#trace.reopen(this.#directory);
    this.#events.reopen(this.#directory);
    old.close();
  }

  /** Writes what is pending, within a second, and closes. Never rejects. */
  async close(): Promise<void> {
    await Promise.all([this.#trace.close(CLOSE_WITHIN_MS), this.#events.close(CLOSE_WITHIN_MS)]);
    process.off('exit', this.#atExit);
    this.#directory.close();
  }
}
