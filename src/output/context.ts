import { randomBytes } from 'node:crypto';
import type { ShownEvent } from './redact.js';

/** What is the same in all events of a run, whatever their format. */
export interface EventContext {
  readonly host: { readonly name: string; readonly id: string | undefined };
  /** The tracer itself. */
  readonly agent: { readonly type: 'imds-tracer'; readonly version: string };
  /** The event's id, unique across runs and hosts, and the same in every format that is made of it before the next event. */
  idOf(event: ShownEvent): string;
}

/** `version` is the tracer's. */
export function createEventContext(about: { hostName: string; hostId?: string; version: string }): EventContext {
  const run = randomBytes(12).toString('base64url');
  let count = 0;
  let last: ShownEvent | undefined;
  let lastId = '';
  return {
    host: { name: about.hostName, id: about.hostId },
    agent: { type: 'imds-tracer', version: about.version },
    // All receivers get an event before any gets the next: remembering one is enough.
    idOf: (event) => {
      if (event !== last) {
        last = event;
        lastId = `${run}-${(count++).toString(36)}`;
      }
      return lastId;
    },
  };
}
