import { bracketed } from '../addresses.js';
import type { Level, Verdict } from '../imds/types.js';
import type { ProcessInfo, ProcessSummary } from '../process/types.js';
import { escapeText, escapeWord } from './escape.js';
import { perProcess } from './per-process.js';
import type { ShownEvent, ShownRequest } from './redact.js';
import { localTime } from './time.js';
import type { LossEvent, ReloadedEvent, StartedEvent, StatsEvent } from './types.js';

/** An event as text. */
export interface TextLine {
  /** Local time with milliseconds and offset. */
  timestamp: string;
  level: Level;
  /** The line without time and level. Printable, without line breaks. */
  message: string;
  /** `[timestamp] [level] message`, without a line end. */
  line: string;
  /** Of a message that names a process, what stands before and behind `namesInText` of it. */
  around?: { before: string; behind: string };
}

/** What a line calls a request. Scripts made for packet analyzers of the metadata service look for these. */
const LABELS: Readonly<Record<Verdict, string>> = {
  normal_mode: 'IMDSv1(!)',
  hardened: 'IMDSv2',
  token_issue: 'IMDSv2 token',
  token_refused: 'IMDSv2 token',
  // A token was sent, so it is no normal mode; it was refused, so it is no hardened access either.
  token_invalid: 'IMDS',
  foreign_probe: 'IMDS',
  unparsed: 'IMDS',
};

/** Bounds of the values in a line, in characters. Together a line stays under 24 KiB, whatever is in it. */
const MAX_OWN_ARGS = 4096;
const MAX_ANCESTOR_ARGS = 1024;
const MAX_TARGET = 4096;
const MAX_HOST = 512;
const MAX_USER_AGENT = 1024;
const MAX_WORD = 256;
/** As container tools abbreviate an id. */
const SHORT_ID = 12;

/**
 * The text form of an event. A request's message is
 *
 * `LABEL PROCESS called by -> PROCESS -> PROCESS … Req details: METHOD TARGET HTTP/VERSION, Host: …, User-Agent: … |
 * verdict:… status:… severity:… unit:… via:…`, each PROCESS `(pid:PID:NAME argv:ARGS)`.
 *
 * What is missing keeps its place: an unknown process, also as the only ancestor, is `(pid:?)`, unknown arguments are
 * `argv:?`, arguments that were cut end in `...`, a header that was not sent and a unit, status or process source that is
 * not known is `-`. Bytes that are no request have `Req details: - (REASON, N bytes)`. After `via:` come, only where
 * there is something to say, `container:` (12 characters of the id), `reasons:` (comma-separated) and `detail:` (of the
 * attribution). Key-value words hold no space.
 */
export function formatText(event: ShownEvent): TextLine {
  const { level, message, around } = FORMATS[event.kind](event as never) as Formatted;
  const timestamp = localTime(event.time);
  const line = `[${timestamp}] [${level}] ${message}`;
  return around === undefined ? { timestamp, level, message, line } : { timestamp, level, message, line, around };
}

type Formatted = Pick<TextLine, 'level' | 'message' | 'around'>;

const FORMATS = {
  request: formatRequest,
  'tracer-started': formatStarted,
  'tracer-reloaded': formatReloaded,
  'tracer-stats': formatStats,
  'tracer-stopped': formatStats,
  'capture-loss': formatLoss,
} satisfies { [Kind in ShownEvent['kind']]: (event: never) => Formatted };

/** A message without its target and with nothing of a process, and all that it was made of. */
interface Frame {
  verdict: Verdict;
  severity: string;
  reasons: readonly string[];
  how: string;
  detail: string | undefined;
  status: number | undefined;
  method: string;
  version: string;
  host: string | undefined;
  userAgent: string | undefined;
  before: string;
  behind: string;
}

/** Where no process is known, as in packet files, the messages of many requests differ in nothing but their target. */
const frames: Frame[] = [];
const MAX_FRAMES = 16;
let nextFrame = 0;

function formatRequest(event: ShownRequest): Formatted {
  const { request, judgement, attribution } = event;
  if (request === undefined || attribution.process !== undefined) return formatAll(event);
  const status = event.response?.status;
  for (const frame of frames) {
    if (
      frame.userAgent === request.userAgent &&
      frame.verdict === judgement.verdict &&
      frame.severity === judgement.severity &&
      frame.reasons === judgement.reasons &&
      frame.status === status &&
      frame.host === request.host &&
      frame.method === request.method &&
      frame.version === request.version &&
      frame.how === attribution.how &&
      frame.detail === attribution.detail
    ) {
      const target = escapeWord(request.target, MAX_TARGET);
      return { level: judgement.level, message: frame.before + target + frame.behind };
    }
  }
  const all = formatAll(event);
  const { verdict, severity, reasons } = judgement;
  const { method, version, host, userAgent } = request;
  // Reasons that are not the same array next time would only push out what is of use.
  if (Object.isFrozen(reasons)) {
    const before = `${beforeDetails(event)}${escapeWord(method, MAX_WORD)} `;
    frames[nextFrame] = {
      verdict,
      severity,
      reasons,
      how: attribution.how,
      detail: attribution.detail,
      status,
      method,
      version,
      host,
      userAgent,
      before,
      behind: all.message.slice(before.length + escapeWord(request.target, MAX_TARGET).length),
    };
    nextFrame = (nextFrame + 1) % MAX_FRAMES;
  }
  return all;
}

/** A request's message up to its details, where no process is known. */
const beforeDetails = ({ judgement }: ShownRequest): string =>
  `${LABELS[judgement.verdict]} ${UNKNOWN_PROCESS} called by -> ${UNKNOWN_PROCESS} Req details: `;

function formatAll(event: ShownRequest): Formatted {
  const { judgement, attribution } = event;
  const { level, reasons } = judgement;
  const process = attribution.process === undefined ? NO_PROCESS : textOfProcess(attribution.process);
  let behind =
    `${formatDetails(event)} | verdict:${judgement.verdict} status:${event.response?.status ?? '-'}` +
    ` severity:${judgement.severity} unit:${process.unit}` +
    ` via:${attribution.how === 'none' ? '-' : attribution.how}${process.container}`;
  if (reasons.length > 0) behind += ` reasons:${escapeWord(reasons.join(','), MAX_WORD)}`;
  if (attribution.detail !== undefined) behind += ` detail:${escapeWord(attribution.detail, MAX_WORD)}`;
  if (attribution.process === undefined) return { level, message: beforeDetails(event) + behind };
  const before = `${LABELS[judgement.verdict]} `;
  return { level, message: before + process.names + behind, around: { before, behind } };
}

const UNKNOWN_PROCESS = '(pid:?)';

/** What a line says of nothing but the process that asked. */
interface ProcessText {
  /** From the process's own name to the details of the request. */
  names: string;
  unit: string;
  container: string;
}

const NO_PROCESS: ProcessText = { names: '', unit: '-', container: '' };

const textOfProcess = perProcess(
  (process: ProcessInfo): ProcessText => {
    const { ancestors, unit = '-', container } = process;
    let names = `${formatProcess(process, MAX_OWN_ARGS)} called by`;
    if (ancestors.length === 0) names += ` -> ${UNKNOWN_PROCESS}`;
    else for (const ancestor of ancestors) names += ` -> ${textOfAncestor(ancestor).text}`;
    return {
      names: `${names} Req details: `,
      unit: escapeWord(unit, MAX_WORD),
      container: container === undefined ? '' : ` container:${escapeWord(container.id.slice(0, SHORT_ID))}`,
    };
  },
  ({ names }) => names.length,
);

const textOfAncestor = perProcess(
  (ancestor: ProcessSummary) => ({ text: formatProcess(ancestor, MAX_ANCESTOR_ARGS) }),
  ({ text }) => text.length,
);

/** What stands in a message between what is `around`. */
export const namesInText = (process: ProcessInfo): string => textOfProcess(process).names;

function formatProcess(process: ProcessSummary, maxArgs: number): string {
  const args = process.args === undefined ? '?' : escapeText(process.args.join(' '), maxArgs);
  return `(pid:${process.pid}:${escapeText(process.name, MAX_WORD)} argv:${args}${process.argsTruncated ? '...' : ''})`;
}

function formatDetails({ request, unparsed }: ShownRequest): string {
  if (request === undefined) return `- (${unparsed?.reason ?? 'unknown'}, ${unparsed?.bytes ?? 0} bytes)`;
  return (
    `${escapeWord(request.method, MAX_WORD)} ${escapeWord(request.target, MAX_TARGET)} HTTP/${escapeWord(request.version, 8)}` +
    `, Host: ${escapeText(request.host ?? '-', MAX_HOST)}, User-Agent: ${escapeText(request.userAgent ?? '-', MAX_USER_AGENT)}`
  );
}

function formatStarted(event: StartedEvent): Formatted {
  const words = {
    version: event.version,
    source: event.source,
    providers: event.providers.join(','),
    endpoints: endpointWords(event.endpoints),
  };
  return { level: 'INFO', message: `tracer-started${formatWords(words)} (${escapeText(event.sourceDetail, 1024)})` };
}

function formatReloaded(event: ReloadedEvent): Formatted {
  const words = {
    source: event.source,
    providers: event.providers.join(','),
    endpoints: endpointWords(event.endpoints),
    changed: event.changed.join(',') || '-',
    kept: event.kept.join(',') || '-',
  };
  return { level: 'INFO', message: `tracer-reloaded${formatWords(words)}` };
}

const endpointWords = (endpoints: StartedEvent['endpoints']): string =>
  endpoints.map(({ address, port }) => `${bracketed(address)}:${port}`).join(',');

function formatStats(event: StatsEvent): Formatted {
  const { by_verdict: byVerdict, ...counters } = event.stats;
  return { level: 'INFO', message: `${event.kind}${formatWords(counters)}${formatWords(byVerdict)}` };
}

function formatLoss(event: LossEvent): Formatted {
  return { level: 'ERROR', message: `capture-loss${formatWords(event.lost)}` };
}

function formatWords(words: Readonly<Record<string, string | number>>): string {
  let text = '';
  for (const [name, value] of Object.entries(words))
    text += ` ${escapeWord(name, MAX_WORD)}:${escapeWord(String(value), 1024)}`;
  return text;
}
