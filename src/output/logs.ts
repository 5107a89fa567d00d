import { closeSync } from 'node:fs';
import { type Logger, type LoggerOptions, pino } from 'pino';
import type { Level } from '../imds/types.js';
import type { Metric, Sample } from '../metrics/types.js';
import type { Say } from './block-writer.js';
import type { EventContext } from './context.js';
import { ecsFields, ecsLog } from './ecs.js';
import { escapeJson } from './escape.js';
import { FORMATTERS, type JsonFormat } from './formats.js';
import type { RotationOptions } from './numbered-files.js';
import { PrivateDirectory } from './private-directory.js';
import type { ShownEvent } from './redact.js';
import { RotatingFile } from './rotating-file.js';
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
const LOG_ROTATION: RotationOptions = { maxBytes: 50 * 1024 * 1024, maxFiles: 10 };

/** Stem and extension. */
const TRACE = ['imds-trace', 'log'] as const;
const EVENTS = ['imds-events', 'ndjson'] as const;

/** The log directory: `imds-trace.log`, a line per event, and `imds-events.ndjson`, an object per line. */
export class LogFiles {
  #directory: PrivateDirectory;
  readonly #say: Say;
  readonly #context: EventContext;
  #format: JsonFormat;
  readonly #trace: RotatingFile;
  readonly #events: RotatingFile;
  readonly #logger: Logger<Level, true>;
  /** The text that belongs to the object that pino is serialising. */
  #line = '';
  /** The process ends without closing: by an error that nobody caught, or by a second signal. */
  readonly #atExit = (): void => {
    this.#trace.flushAtExit();
    this.#events.flushAtExit();
  };

  /**
   * Opens or creates directory and files. Throws TracerError where the directory can't be used. `say` hears, for people, when a
   * file can't be written and when it can again.
   */
  constructor(
    directory: string,
    context: EventContext,
    rotation: RotationOptions = LOG_ROTATION,
    format: JsonFormat = 'ecs',
    say: Say = () => {},
  ) {
    this.#format = format;
    this.#say = say;
    this.#context = context;
    this.#directory = new PrivateDirectory(directory);
    this.#trace = new RotatingFile(this.#directory, ...TRACE, rotation, say);
    this.#events = new RotatingFile(this.#directory, ...EVENTS, rotation, say);
    this.#logger = pino<Level, true>(LOGGER_OPTIONS, {
      write: (json: string) => {
        this.#events.append(escapeJson(json.trimEnd()));
        this.#trace.append(this.#line);
      },
    });
    this.#logger.level = 'INFO';
    process.once('exit', this.#atExit);
  }

  /** Where the files are. */
  get path(): string {
    return this.#directory.path;
  }

  /** Lines that were lost, so far. */
  get errors(): number {
    return this.#trace.lost + this.#events.lost;
  }

  /** One of the files can't be written at present. */
  get failing(): boolean {
    return this.#trace.failing || this.#events.failing;
  }

  readonly metrics: readonly Metric[] = [
    {
      name: 'log_pending_bytes',
      help: 'Lines that wait to be written.',
      type: 'gauge',
      labels: ['file'],
      read: () => this.#perFile((file) => file.pendingBytes),
    },
    {
      name: 'log_lines_lost_total',
      help: 'Lines that could not be written.',
      type: 'counter',
      labels: ['file'],
      read: () => this.#perFile((file) => file.lost),
    },
    {
      name: 'log_failing',
      help: 'Whether a log file can not be written at present: 1 or 0.',
      type: 'gauge',
      labels: ['file'],
      read: () => this.#perFile((file) => (file.failing ? 1 : 0)),
    },
  ];

  /** Adds the event to both files. `text` is its text form. Never throws. */
  write(event: ShownEvent, text: TextLine): void {
    if (this.#format === 'ecs' && event.kind !== 'request') {
      this.#line = text.line;
      this.#logger[text.level](ecsFields(event, this.#context), text.message);
      return;
    }
    // The logger's own members, level and message, are those of ECS. Requests do not go through it: it makes text of every
    // object of each event, a third of all CPU time that a request took, and can't be given text that is there already.
    this.#events.append(FORMATTERS[this.#format](event, this.#context, text));
    this.#trace.append(text.line);
  }

  /** More lines should wait for `room`. */
  get full(): boolean {
    return this.#trace.full || this.#events.full;
  }

  /** Resolves when there is room for more lines, soon in any case. Never rejects. */
  async room(): Promise<void> {
    await this.#trace.room();
    await this.#events.room();
  }

  /** Goes on in new files of the same names, after an outside logrotate has renamed them. Never throws. */
  reopen(): void {
    try {
      this.moveTo(this.#directory.path);
    } catch (error) {
      // The directory as it was is still open; going on there loses nothing.
      this.#say(`the logs were not opened anew: ${(error as Error).message}`);
    }
  }

  /** Goes on in files of the same names in another directory. Throws TracerError where it can't be used, and stays. */
  moveTo(path: string): void {
    const old = this.#directory;
    const directory = new PrivateDirectory(path);
    try {
      for (const [stem, extension] of [TRACE, EVENTS]) closeSync(directory.openFile(`${stem}.${extension}`).fd);
    } catch (error) {
      directory.close();
      throw error;
    }
    this.#directory = directory;
    this.#trace.reopen(directory);
    this.#events.reopen(directory);
    old.close();
  }

  /** Of the JSON file, from the next event on. */
  set format(format: JsonFormat) {
    this.#format = format;
  }

  /** From the next line on. */
  rotateBy(rotation: RotationOptions): void {
    this.#trace.rotateBy(rotation);
    this.#events.rotateBy(rotation);
  }

  /** Writes what is pending, in the time that BlockWriter gives a disk, and closes. Never rejects. */
  async close(): Promise<void> {
    await Promise.all([this.#trace.close(), this.#events.close()]);
    process.off('exit', this.#atExit);
    this.#directory.close();
  }

  #perFile(read: (file: RotatingFile) => number): Sample[] {
    return [
      { labels: { file: TRACE.join('.') }, value: read(this.#trace) },
      { labels: { file: EVENTS.join('.') }, value: read(this.#events) },
    ];
  }
}
