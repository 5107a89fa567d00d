import { escapeText } from '../output/escape.js';
import type { TerminalStream } from '../output/terminal.js';
import type { AuditProgress } from './audit.js';
import { duration } from './text.js';

/** Without a terminal, a line this often. */
const LINE_INTERVAL_MS = 60_000;
/** What a slow reader has not taken; beyond it nothing is shown until it has. */
const MAX_PENDING = 64 * 1024;
/** Clients that are shown; who makes more makes no more lines. */
const MAX_FINDINGS = 100;

const ERASE_LINE = '\r\x1b[K';

/** How an audit goes on: in a terminal one line that changes, elsewhere a line a minute; and each client that goes without a token, once. Never throws. */
export class ProgressView {
  #shown = false;
  #nextLine = 0;
  #findings = 0;

  constructor(
    private readonly stream: TerminalStream,
    private readonly now: () => number = () => performance.now(),
  ) {
    stream.on('error', () => {});
  }

  /** To be called about once a second. */
  update(progress: AuditProgress): void {
    const text = progressText(progress);
    if (this.stream.isTTY) {
      this.#write(`${ERASE_LINE}${text.slice(0, Math.max((this.stream.columns || 80) - 1, 0))}`);
      this.#shown = true;
      return;
    }
    const now = this.now();
    if (now < this.#nextLine) return;
    this.#nextLine = now + LINE_INTERVAL_MS;
    this.#write(`imds-tracer: audit: ${text}\n`);
  }

  finding({ command, unit }: { command: string | null; unit: string | null }, path: string): void {
    if (++this.#findings > MAX_FINDINGS) return;
    const place = unit === null ? '' : ` (unit ${escapeText(unit, 100)})`;
    this.line(`without a token: ${escapeText(command ?? 'unknown process', 200)}${place}: ${escapeText(path, 200)}`);
  }

  /** A line that stays. `text` is printable. */
  line(text: string): void {
    this.#write(`${this.#shown ? ERASE_LINE : ''}imds-tracer: ${text}\n`);
    this.#shown = false;
  }

  /** Takes the changing line away. */
  close(): void {
    if (this.#shown) this.#write(ERASE_LINE);
    this.#shown = false;
  }

  #write(text: string): void {
    if (this.stream.writableLength > MAX_PENDING) return;
    try {
      this.stream.write(text);
    } catch {
      // The reader has gone; the audit has not.
    }
  }
}

const progressText = ({ remainingMs, requests, clients, normalMode }: AuditProgress): string =>
  `${duration(remainingMs)} left, ${requests} requests (${normalMode} without a token) of ${clients} clients`;
