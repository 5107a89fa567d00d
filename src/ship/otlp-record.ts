import type { Level } from '../imds/types.js';
import type { EventContext } from '../output/context.js';
import { formatEcs } from '../output/ecs.js';
import type { ShownEvent } from '../output/redact.js';
import type { TextLine } from '../output/text.js';

/**
 * OpenTelemetry's log records in its JSON form (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): the
 * fields of opentelemetry/proto/logs/v1/logs.proto in lowerCamelCase, 64-bit integers as decimal text.
 *
 * Why not @opentelemetry/otlp-transformer: it drags in eight packages, 25 MB, whose newest versions want Node 22, and it
 * serialises whole requests from the SDK's objects, where a spool needs each record by itself in the form that is sent.
 */

/** SeverityNumber of logs.proto. NOTICE is above INFO and below WARN: INFO2. */
const SEVERITIES: Readonly<Record<Level, number>> = { INFO: 9, NOTICE: 10, WARNING: 13, ERROR: 17 };

type AnyValue =
  | { stringValue: string }
  | { boolValue: boolean }
  | { intValue: string }
  | { doubleValue: number }
  | { arrayValue: { values: AnyValue[] } }
  | { kvlistValue: { values: KeyValue[] } };

interface KeyValue {
  key: string;
  value: AnyValue;
}

/** Members of the ECS event that the record or the resource says in their own fields. */
const ELSEWHERE = ['@timestamp', 'message', 'host', 'agent', 'log'];

/** A LogRecord: the text line's message as its body, the ECS event's fields, dotted, as its attributes. */
export function otlpRecord(event: ShownEvent, context: EventContext, text: TextLine, now: number = Date.now()): string {
  const attributes: KeyValue[] = [];
  for (const [name, value] of Object.entries(formatEcs(event, context, text))) {
    if (!ELSEWHERE.includes(name)) flatten(name, value, attributes);
  }
  return JSON.stringify({
    timeUnixNano: nanoseconds(event.time),
    observedTimeUnixNano: nanoseconds(now),
    severityNumber: SEVERITIES[text.level],
    severityText: text.level,
    body: { stringValue: wellFormed(text.message) },
    attributes,
  });
}

/** What an ExportLogsServiceRequest has before and behind its log records, which stand between them, separated by commas. */
export function otlpEnvelope({ host, agent }: EventContext): [before: string, behind: string] {
  const attributes: KeyValue[] = [];
  flatten('service', { name: agent.type, version: agent.version }, attributes);
  flatten('host', host, attributes);
  const scope = { name: agent.type, version: agent.version };
  const MARK = '"MARK"';
  const whole = JSON.stringify({
    resourceLogs: [{ resource: { attributes }, scopeLogs: [{ scope, logRecords: ['MARK'] }] }],
  });
  const at = whole.lastIndexOf(MARK);
  return [whole.slice(0, at), whole.slice(at + MARK.length)];
}

function flatten(key: string, value: unknown, into: KeyValue[]): void {
  if (value === undefined || value === null) return;
  if (typeof value === 'object' && !Array.isArray(value)) {
    for (const [name, member] of Object.entries(value)) flatten(`${key}.${name}`, member, into);
    return;
  }
  const converted = anyValue(value);
  if (converted !== undefined) into.push({ key, value: converted });
}

function anyValue(value: unknown): AnyValue | undefined {
  switch (typeof value) {
    case 'string':
      return { stringValue: wellFormed(value) };
    case 'boolean':
      return { boolValue: value };
    case 'number':
      return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value };
    case 'object': {
      if (value === null) return undefined;
      if (Array.isArray(value)) return { arrayValue: { values: value.flatMap((item) => anyValue(item) ?? []) } };
      const values = Object.entries(value).flatMap(([key, member]) => {
        const converted = anyValue(member);
        return converted === undefined ? [] : [{ key, value: converted }];
      });
      return { kvlistValue: { values } };
    }
    default:
      return undefined;
  }
}

/** Protobuf's strings are UTF-8, which has no lone surrogates. */
const wellFormed = (text: string): string => text.replace(/\p{Cs}/gu, '\ufffd');

/** Epoch milliseconds with a fraction → nanoseconds, as text. 0 means unknown. */
function nanoseconds(time: number): string {
  if (!(time > 0) || time > 8.64e15) return '0';
  const whole = Math.floor(time);
  const nanos = BigInt(whole) * 1_000_000n + BigInt(Math.floor((time - whole) * 1_000_000));
  // fixed64 ends in the year 2554.
  return nanos < 2n ** 64n ? String(nanos) : '0';
}
