import { escapeText } from '../output/escape.js';
import { duration } from '../output/figures.js';
import { ProgressLine } from '../output/progress-line.js';
import type { TerminalStream } from '../output/terminal.js';
import type { AuditProgress } from './audit.js';

/** Without a terminal, a line this often. */
const LINE_INTERVAL_MS = 60_000;
/** Clients that are shown; who makes more makes no more lines. */
const MAX_FINDINGS = 100;

/** How an audit goes on: in a terminal one line that changes, elsewhere a line a minute; and each client that goes without a token, once. Never throws. */
export class ProgressView {
  readonly #line: ProgressLine;
  #nextLine = 0;
  #findings = 0;

  constructor(
    private readonly stream: TerminalStream,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.#line = new ProgressLine(stream, 0);
  }

  /** To be called about once a second. */
  update(progress: AuditProgress): void {
    this.#line.show(() => progressText(progress));
    if (this.stream.isTTY) return;
    const now = this.now();
    if (now < this.#nextLine) return;
    this.#nextLine = now + LINE_INTERVAL_MS;
    this.line(`audit: ${progressText(progress)}`);
  }

  finding({ command, unit }: { command: string | null; unit: string | null }, path: string): void {
    if (++this.#findings > MAX_FINDINGS) return;
    const place = unit === null ? '' : ` (unit ${escapeText(unit, 100)})`;
    this.line(`without a token: ${escapeText(command ?? 'unknown process', 200)}${place}: ${escapeText(path, 200)}`);
  }

  /** A line that stays. `text` is printable. */
  line(text: string): void {
    this.#line.line(`imds-tracer: ${text}\n`);
  }

  /** Takes the changing line away. */
  close(): void {
    this.#line.clear();
  }
}

const progressText = ({ remainingMs, requests, clients, normalMode }: AuditProgress): string =>
  `${duration(remainingMs)} left, ${requests} requests (${normalMode} without a token) of ${clients} clients`;
