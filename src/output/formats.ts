import { formatCef } from './cef.js';
import type { EventContext } from './context.js';
import { ecsJson } from './ecs-json.js';
import { escapeJson } from './escape.js';
import { formatOcsf } from './ocsf.js';
import type { ShownEvent } from './redact.js';
import type { TextLine } from './text.js';

/** The schemas of JSON events. */
export const JSON_FORMATS = ['ecs', 'ocsf'] as const;
export type JsonFormat = (typeof JSON_FORMATS)[number];

/** Everything that an event may be written as. */
export type EventFormat = 'text' | JsonFormat | 'cef';

/** The event as one printable line, without a line end. */
export const FORMATTERS: Readonly<
  Record<EventFormat, (event: ShownEvent, context: EventContext, text: TextLine) => string>
> = {
  text: (_event, _context, { line }) => line,
  ecs: ecsJson,
  ocsf: (event, context, text) => escapeJson(JSON.stringify(formatOcsf(event, context, text))),
  cef: formatCef,
};
