import type { TerminalStream } from './terminal.js';

const ERASE_LINE = '\r\x1b[K';
/** What a slow reader has not taken; beyond it nothing is shown until it has. */
const MAX_PENDING = 64 * 1024;

/** How far a command is, on the last line of a terminal; elsewhere nothing. Never throws. */
export class ProgressLine {
  #shown = false;
  #next: number;

  /** Drawn once in `intervalMs`, after `firstMs`: what is done by then needs no line. */
  constructor(
    private readonly stream: TerminalStream,
    private readonly intervalMs: number,
    firstMs: number = intervalMs,
  ) {
    this.#next = performance.now() + firstMs;
    stream.on('error', () => {});
  }

  /** `text` is printable, and asked for only when it is drawn. */
  show(text: () => string): void {
    if (this.stream.isTTY !== true) return;
    const now = performance.now();
    if (now < this.#next) return;
    this.#next = now + this.intervalMs;
    // One column stays free, as in terminal.ts.
    this.#write(ERASE_LINE + text().slice(0, Math.max((this.stream.columns || 80) - 1, 0)));
    this.#shown = true;
  }

  /** A line that stays, in a terminal or not; with its line end. */
  line(text: string): void {
    this.#write(`${this.#shown ? ERASE_LINE : ''}${text}`);
    this.#shown = false;
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#shown) this.#write(ERASE_LINE);
    this.#shown = false;
  }

  #write(text: string): void {
    if (this.stream.writableLength > MAX_PENDING) return;
    try {
      this.stream.write(text);
    } catch {
      // The reader has gone; the work has not.
    }
  }
}
