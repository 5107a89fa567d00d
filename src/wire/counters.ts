import { KnownHeads } from './known-heads.js';
import { SentBytes } from './sent-heads.js';

/** What all connections of a tracer share: the budget of kept bytes, counts of what was lost or passed over, known heads, and sent ones. */
export class WireCounters {
  /** Apart: what may stand behind a request's first line may be a response's head. */
  readonly requestHeads = new KnownHeads();
  readonly responseHeads = new KnownHeads();
  readonly sentHeads = new SentBytes();
  /** Bytes kept by all connections at this moment, bookkeeping included. */
  bufferedBytes = 0;
  /** Stretches of a stream that never came. */
  gaps = 0;
  gapBytes = 0;
  /** Segments whose every byte had come before. */
  retransmissions = 0;
  /** Segments too far from the expected sequence number to belong to their stream. */
  outOfWindow = 0;
}
