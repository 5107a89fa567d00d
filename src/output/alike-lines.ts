import type { ExchangeRecord } from '../capture/types.js';
import { type Alike, eventOfExchange } from '../exchanges.js';
import { PLAIN_WORD } from './escape.js';
import type { LearnedSecrets } from './learned.js';
import { redactEvent } from './redact.js';
import { MAY_HOLD_SECRET } from './secret-names.js';
import { formatText } from './text.js';
import { localTime } from './time.js';

/** A line but for its time and the query. */
interface Frame {
  readonly alike: Alike;
  /** Of what was learned when it was made. */
  readonly version: number;
  /** Undefined where a query may change more than it adds. */
  readonly parts: { readonly before: string; readonly behind: string } | undefined;
}

/** Longer ones could be cut, or hold a word that was learned (LearnedSecrets asks for 16 characters). */
const MAX_QUERY = 15;
const MAX_PATH = 1024;
const DETAILS = 'Req details: ';
/** Frames that are known at one time: of each of the heads that the native module numbers (`heads` of the layout) four. */
const MAX_FRAMES = 256;

/** 1 for the bytes that no line escapes. */
const PLAIN = Uint8Array.from({ length: 128 }, (_, code) => (PLAIN_WORD.test(String.fromCharCode(code)) ? 1 : 0));
const MILLISECONDS = Array.from({ length: 1000 }, (_, value) => String(value).padStart(3, '0'));

/** Text lines of exchanges: those of the same kind differ in their time and query, and nothing else is written anew. */
export class AlikeLines {
  readonly #frames = new Map<Alike, Frame>();
  #last: Frame | undefined;
  /** Of the second that the last line was in. */
  #second = Number.NaN;
  #beforeMs = '';
  #behindMs = '';

  constructor(private readonly learned: LearnedSecrets) {}

  /** The same as formatText() gives, without a line end. */
  line(alike: Alike, exchange: ExchangeRecord): string {
    const frame = this.#frameOf(alike, exchange);
    const query = frame.parts === undefined ? undefined : plainQuery(exchange);
    if (query === undefined) return formatText(redactEvent(eventOfExchange(alike, exchange), this.learned)).line;
    const { before, behind } = frame.parts!;
    return this.#time(exchange.requestTime) + before + query + behind;
  }

  #frameOf(alike: Alike, exchange: ExchangeRecord): Frame {
    const { version } = this.learned;
    if (this.#last?.alike === alike && this.#last.version === version) return this.#last;
    let frame = this.#frames.get(alike);
    if (frame === undefined || frame.version !== version) {
      if (this.#frames.size >= MAX_FRAMES) this.#frames.clear();
      frame = this.#makeFrame(alike, exchange);
      this.#frames.set(alike, frame);
    }
    this.#last = frame;
    return frame;
  }

  #makeFrame(alike: Alike, exchange: ExchangeRecord): Frame {
    const event = eventOfExchange(alike, exchange);
    const { path, method } = alike.head;
    const { level, message } = formatText(
      redactEvent({ ...event, request: { ...event.request!, target: path } }, this.learned),
    );
    const pathEnd = message.indexOf(DETAILS) + DETAILS.length + method.length + 1 + path.length;
    const shown = path.length <= MAX_PATH && message.slice(0, pathEnd).endsWith(` ${path}`) && PLAIN_WORD.test(path);
    const parts = shown
      ? { before: `] [${level}] ${message.slice(0, pathEnd)}`, behind: message.slice(pathEnd) }
      : undefined;
    return { alike, version: this.learned.version, parts };
  }

  /** `[`, and the time as localTime() has it. */
  #time(time: number): string {
    const second = Math.floor(time / 1000);
    if (second !== this.#second) {
      const text = localTime(time);
      const dot = text.lastIndexOf('.');
      this.#beforeMs = `[${text.slice(0, dot + 1)}`;
      this.#behindMs = text.slice(dot + 4);
      this.#second = second;
    }
    return this.#beforeMs + MILLISECONDS[Math.floor(time) - second * 1000] + this.#behindMs;
  }
}

/** The query, where it is shown as it is wherever it stands; undefined where that takes a closer look. */
function plainQuery({ batch, queryStart, bodyStart }: ExchangeRecord): string | undefined {
  if (queryStart === bodyStart) return '';
  if (bodyStart - queryStart > MAX_QUERY) return undefined;
  for (let at = queryStart; at < bodyStart; at++) if (PLAIN[batch[at]!] !== 1) return undefined;
  const query = batch.toString('latin1', queryStart, bodyStart);
  return MAY_HOLD_SECRET.test(query) ? undefined : query;
}
