import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import pc from 'picocolors';
import type { Level } from '../imds/types.js';
import { lostInAll } from './losses.js';
import type { TextLine } from './text.js';
import type { TracerStats } from './types.js';

/** The part of a terminal's or pipe's stream that is used here. */
export interface TerminalStream {
  isTTY?: boolean;
  columns?: number;
  readonly writableLength: number;
  write(text: string, taken?: () => void): boolean;
  on(event: 'error', listener: (error: Error) => void): unknown;
  /** Node's own, of a terminal. */
  readonly _handle?: { setBlocking?(blocking: boolean): unknown } | null;
}

/** The screen is drawn at most this often. */
const REDRAW_MS = 50;
/** What a slow reader has not taken yet, and what waits for the next redraw; lines beyond are left out and counted. */
const MAX_PENDING_CHARACTERS = 1024 * 1024;
/**
 * While more than this waits for a program that reads the lines, no more should be made, but not for longer than this at a
 * time, nor for one that has read nothing for so long (`| less`). A terminal is for people: they are not waited for.
 */
const ENOUGH_PENDING_CHARACTERS = 128 * 1024;
const WAIT_FOR_READER_MS = 50;
const STANDS_STILL_MS = 1000;

const ERASE_LINE = '\r\x1b[K';

/** Whether what is written there is in colour: a terminal, and nobody who asks for none (https://no-color.org). */
export const inColour = (stream: { isTTY?: boolean }): boolean => stream.isTTY === true && !process.env['NO_COLOR'];

type Paint = (text: string) => string;

/**
 * The live view. In a terminal: the lines in colour, and below them a status line of counters. Elsewhere: the lines alone,
 * plain. The text of a line is printable already (text.ts), so that nothing from outside steers the terminal. Never throws;
 * a reader that goes away (`| head`) ends the view, not the tracer.
 */
export class TerminalView {
  readonly #isTerminal: boolean;
  readonly #levels: Readonly<Record<Level, Paint>>;
  readonly #mark: Paint;
  readonly #dim: Paint;
  #pending = '';
  #skipped = 0;
  #status = '';
  #statusShown = false;
  #statusChanged = false;
  #timer: NodeJS.Timeout | undefined;
  #gone = false;
  /** When the reader took something for the last time, or was given something while nothing else waited. */
  #lastTaken = Number.NEGATIVE_INFINITY;

  /** `colour` false takes the colours away (NO_COLOR, https://no-color.org); without a terminal there are none. */
  constructor(
    private readonly stream: TerminalStream,
    colour = true,
  ) {
    this.#isTerminal = stream.isTTY === true;
    const colours = pc.createColors(this.#isTerminal && colour);
    this.#dim = colours.dim;
    this.#mark = (text) => colours.bold(colours.red(text));
    this.#levels = {
      INFO: colours.green,
      NOTICE: colours.yellow,
      WARNING: (text) => colours.bold(colours.inverse(colours.red(text))),
      ERROR: (text) => colours.bold(colours.red(text)),
    };
    stream.on('error', () => {
      this.#gone = true;
    });
    // Node writes to terminals blocking (tty.WriteStream), and has no public way to change it. One that stands still (Ctrl-S,
    // a multiplexer's copy mode) would stop the whole tracer.
    stream._handle?.setBlocking?.(false);
  }

  /** More lines should wait for `room`. */
  get full(): boolean {
    return (
      !this.#isTerminal &&
      !this.#gone &&
      this.#pending.length + this.stream.writableLength > ENOUGH_PENDING_CHARACTERS &&
      (this.stream.writableLength === 0 || performance.now() - this.#lastTaken < STANDS_STILL_MS)
    );
  }

  /** Resolves when the reader has taken more, soon in any case. Never rejects. */
  async room(): Promise<void> {
    if (!this.full) return;
    this.#draw();
    const end = performance.now() + WAIT_FOR_READER_MS;
    while (this.full && performance.now() < end) await sleep(1);
  }

  /** Shows an event. */
  line(text: TextLine): void {
    if (this.#pending.length + this.stream.writableLength > MAX_PENDING_CHARACTERS) {
      this.#skipped += 1;
      return;
    }
    this.#pending += `${this.#isTerminal ? this.#paint(text) : text.line}\n`;
    this.#redrawSoon();
  }

  /** Shows the counters, in a terminal. */
  status(stats: TracerStats): void {
    if (!this.#isTerminal) return;
    this.#status = statusText(stats);
    this.#statusChanged = true;
    this.#redrawSoon();
  }

  /** Shows what is pending and takes the status line away. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#status = '';
    this.#draw();
  }

  #paint({ timestamp, level, message }: TextLine): string {
    const space = message.indexOf(' ');
    const label = level === 'WARNING' && space > 0 ? this.#mark(message.slice(0, space)) : message.slice(0, space);
    return `${this.#dim(`[${timestamp}]`)} ${this.#levels[level](`[${level}]`)} ${label}${message.slice(space)}`;
  }

  #redrawSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#draw();
    }, REDRAW_MS);
  }

  #draw(): void {
    if (this.#gone || (this.#pending === '' && !this.#statusChanged && !this.#statusShown)) return;
    let out = this.#statusShown ? ERASE_LINE : '';
    out += this.#pending;
    this.#pending = '';
    if (this.#skipped > 0) {
      out += `... ${this.#skipped} lines not shown: the reader is too slow\n`;
      this.#skipped = 0;
    }
    this.#statusShown = this.#status !== '';
    this.#statusChanged = false;
    // One column stays free: a full last column makes some terminals wrap. Consoles of unset size say 0 columns.
    if (this.#statusShown) out += this.#dim(this.#status.slice(0, Math.max((this.stream.columns || 80) - 1, 0)));
    if (out === '') return;
    try {
      if (this.stream.writableLength === 0) this.#lastTaken = performance.now();
      this.stream.write(out, () => {
        this.#lastTaken = performance.now();
      });
    } catch {
      this.#gone = true;
    }
  }
}

/** Counters for people, the most important first: a narrow terminal cuts the end. */
function statusText(stats: TracerStats): string {
  const { normal_mode: normal = 0, hardened = 0, token_issue: issued = 0 } = stats.by_verdict;
  return (
    `${stats.requests} requests: ${normal} without a token, ${hardened} hardened, ${issued} tokens` +
    ` | ${stats.unparsed} unparsed | ${stats.unattributed} not attributed | ${lostInAll(stats)} lost | ${stats.packets_captured} packets`
  );
}
