/** A way to one receiver, from when it is open to when it breaks. */
export interface Sender {
  /**
   * How long the way must go on after `send` until what was sent counts as arrived, in milliseconds: a protocol without
   * answers shows a dead receiver only by breaking.
   */
  readonly holdMs: number;
  /** Limits of one batch. */
  readonly maxRecords: number;
  readonly maxBytes: number;
  /** Set once the way is broken; `onBroken` is called then. */
  readonly broken: Error | undefined;
  onBroken: () => void;
  /** Resolves when the other side has taken it, with how many it says it will not keep. Rejects where that isn't known. */
  send(records: readonly Buffer[]): Promise<number>;
  /** Ends in order: whether the receiver has read everything. Never rejects; bounded by `destroy`. */
  finish(): Promise<boolean>;
  destroy(): void;
}

/** A failure that says more than that it has to be tried again. */
export class ShipFailure extends Error {
  override readonly name = 'ShipFailure';
  constructor(
    message: string,
    /** `again`: the same later. `refused`: something in the batch, or all of it, will never be taken. */
    readonly meaning: 'again' | 'refused',
    /** The receiver wants to be left alone for so long, in milliseconds. */
    readonly retryAfterMs = 0,
  ) {
    super(message);
  }
}
