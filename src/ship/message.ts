import process from 'node:process';
import type { Level } from '../imds/types.js';
import type { EventContext } from '../output/context.js';
import { FORMATTERS } from '../output/formats.js';
import type { ShownEvent } from '../output/redact.js';
import type { TextLine } from '../output/text.js';
import { utcTime } from '../output/time.js';
import { otlpRecord } from './otlp-record.js';
import type { ShipTarget, SyslogTarget } from './target.js';

/** RFC 5424, section 6.2.1. */
const SEVERITIES: Readonly<Record<Level, number>> = { ERROR: 3, WARNING: 4, NOTICE: 5, INFO: 6 };

/** RFC 5424, section 7.3.1: from 1 to 2147483647, then from 1 again. */
const LAST_SEQUENCE = 2_147_483_647;

/** Makes the records for a target, numbered. */
export class MessageMaker {
  #sequence = 0;
  readonly #hostName: string;
  readonly #origin: string;

  constructor(
    private readonly target: ShipTarget,
    private readonly context: EventContext,
  ) {
    // HOSTNAME is 1*255PRINTUSASCII.
    this.#hostName = context.host.name.replace(/[^\x21-\x7e]/g, '?').slice(0, 255) || '-';
    this.#origin = `[origin software="${context.agent.type}" swVersion="${parameterValue(context.agent.version)}"]`;
  }

  /** What is sent for an event; syslog without the frame. */
  make(event: ShownEvent, text: TextLine, share: SharedForms): Buffer {
    const { target } = this;
    if (target.kind === 'otlp') return share.of('otlp', () => Buffer.from(otlpRecord(event, this.context, text)));
    const body = share.of(target.format, () => Buffer.from(FORMATTERS[target.format](event, this.context, text)));
    return this.#syslog(target, event, text, body);
  }

  /** RFC 5424: `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID SD MSG`, MSG in UTF-8 without a byte order mark. */
  #syslog(target: SyslogTarget, event: ShownEvent, text: TextLine, body: Buffer): Buffer {
    this.#sequence = this.#sequence === LAST_SEQUENCE ? 1 : this.#sequence + 1;
    const priority = target.facility * 8 + SEVERITIES[text.level];
    const message = event.kind === 'request' ? 'imds-request' : event.kind;
    const header = Buffer.from(
      `<${priority}>1 ${utcTime(event.time)} ${this.#hostName} ${target.appName} ${process.pid} ${message} ` +
        `[meta sequenceId="${this.#sequence}"]${this.#origin} `,
    );
    const room = target.maxSize - header.length;
    if (body.length <= room) return Buffer.concat([header, body]);
    // Half an object is worth nothing: what is too long goes as text, cut.
    return Buffer.concat([header, cutText(Buffer.from(target.format === 'cef' ? body : text.line), room)]);
  }
}

/** The forms of one event, each made once however many targets want it. */
export class SharedForms {
  readonly #made = new Map<string, Buffer>();

  of(name: string, make: () => Buffer): Buffer {
    const known = this.#made.get(name);
    if (known !== undefined) return known;
    const made = make();
    this.#made.set(name, made);
    return made;
  }
}

const CUT = Buffer.from('...');

/** The beginning of UTF-8 text in at most `limit` bytes, whole characters, with dots where it was cut. */
function cutText(text: Buffer, limit: number): Buffer {
  if (text.length <= limit) return text;
  let end = Math.max(0, limit - CUT.length);
  while (end > 0 && (text[end]! & 0xc0) === 0x80) end--;
  return Buffer.concat([text.subarray(0, end), CUT]);
}

/** RFC 5424, section 6.3.3: `"`, `\` and `]` are escaped. */
const parameterValue = (value: string): string => value.replace(/["\\\]]/g, '\\$&');
