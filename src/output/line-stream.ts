/** The part of a writable stream that is used here. */
export interface LineSink {
  write(text: string): boolean;
  on(event: 'error' | 'close' | 'drain', listener: () => void): unknown;
}

/** Lines are handed to the stream in pieces of about this many characters. */
const PIECE = 64 * 1024;

/**
 * Lines for a program that reads them: none is left out, so who writes waits for `flush` between batches. Never throws; a
 * reader that goes away (`| head`) sets `gone`, and what follows is dropped.
 */
export class LineStream {
  gone = false;
  #pending = '';
  /** The stream has as much as it wants; it says `drain` when it wants more. */
  #full = false;
  #release: (() => void) | undefined;

  constructor(private readonly sink: LineSink) {
    const release = (): void => {
      this.#full = false;
      this.#release?.();
    };
    const end = (): void => {
      this.gone = true;
      release();
    };
    sink.on('error', end);
    sink.on('close', end);
    sink.on('drain', release);
  }

  /** The reader is behind: more should wait for `flush`. */
  get full(): boolean {
    return this.#full;
  }

  /** Adds a line; `line` has no line end of its own. */
  line(line: string): void {
    if (this.gone) return;
    this.#pending += `${line}\n`;
    if (this.#pending.length >= PIECE) this.#write();
  }

  /** Hands over what is pending and resolves when the reader wants more, or is gone. */
  async flush(): Promise<void> {
    this.#write();
    if (!this.#full) return;
    await new Promise<void>((resolve) => {
      this.#release = resolve;
    });
    this.#release = undefined;
  }

  #write(): void {
    const text = this.#pending;
    this.#pending = '';
    if (text !== '' && !this.gone && !this.sink.write(text)) this.#full = true;
  }
}
