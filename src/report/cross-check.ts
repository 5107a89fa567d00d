import type { Clients } from '../audit/clients.js';

/** The cloud's own count of normal-mode accesses beside that of the logs, for the same period. */
export interface CrossCheck {
  /** What the cloud counted. */
  expected: number;
  /** Requests without a token that were answered below 400: what the cloud counts as successful. */
  answered: number;
  /** … and those whose answer was not seen: either. */
  unanswered: number;
  /** `expected` lies between `answered` and `answered + unanswered`. */
  accounted: boolean;
  /** For people. */
  text: string;
}

/**
 * Compares with CloudMonitor's "Successful Normal Mode Accesses" or CloudWatch's MetadataNoToken: the service counts each
 * request that it has answered without a token, whoever sent it.
 */
export function crossCheck(expected: number, clients: Clients): CrossCheck {
  let answered = 0;
  let unanswered = 0;
  for (const { normal } of clients.values()) {
    answered += normal.answered;
    unanswered += normal.unanswered;
  }
  // Of clients that there was no room for it is not known which were answered.
  unanswered += clients.other.normal_mode;
  const accounted = expected >= answered && expected <= answered + unanswered;
  return { expected, answered, unanswered, accounted, text: explain(expected, answered, unanswered) };
}

function explain(expected: number, answered: number, unanswered: number): string {
  const seen = `${answered} answered${unanswered > 0 ? ` and ${unanswered} whose answer was not seen` : ''}`;
  if (expected > answered + unanswered) {
    return (
      `the cloud counted ${expected} accesses without a token, the logs have ${seen}: ${expected - answered - unanswered} are not ` +
      'accounted for. Was a tracer down, are logs of an instance missing, or is the period another one?'
    );
  }
  if (expected < answered) {
    return (
      `the cloud counted ${expected} accesses without a token, the logs have ${seen}: ${answered - expected} more than the cloud. ` +
      'Its figure may be late by some minutes, or of another period or fewer instances'
    );
  }
  return `the cloud counted ${expected} accesses without a token, the logs have ${seen}: every one is accounted for`;
}
