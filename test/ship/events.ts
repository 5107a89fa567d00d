import { createEventContext } from '../../src/output/context.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { redactEvent } from '../../src/output/redact.js';
import type { EventSink } from '../../src/output/sink.js';
import { formatText } from '../../src/output/text.js';
import { requestEvent, requestHead } from '../output/events.js';

export const context = createEventContext({ hostName: 'host-1', hostId: 'id-1', version: '0.1.0' });

const learned = new LearnedSecrets();

/** Gives numbered requests to a sink, as a live session does. */
export const sender =
  (sink: EventSink) =>
  (number: number): void => {
    const event = redactEvent(requestEvent({ request: requestHead({ target: `/latest/number/${number}` }) }), learned);
    sink.write!(event, formatText(event));
  };

/** The number of a request in a message of whatever format. */
export function numberOf(message: string): number | undefined {
  const found = /\/latest\/number\/(\d+)/.exec(message);
  return found === null ? undefined : Number(found[1]);
}
