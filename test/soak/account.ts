/** What the events of the requests numbered 0 to `total` - 1 say, each of which should be there once. */
export class Account {
  readonly #seen: Uint8Array;
  /** Requests that have an event. */
  events = 0;
  /** Further events of a request that has one. */
  duplicates = 0;
  /** Events whose process is another than the one that sent the request, or none. */
  wrongProcess = 0;
  /** Events with another verdict than `normal_mode` for even numbers and `hardened` for odd ones, or with another status. */
  wrongVerdict = 0;
  /** Events without a status: the answer came later than the second for which an event waits. No fault on a busy machine. */
  late = 0;
  /** Events of other requests: other clients of this machine's. */
  foreign = 0;

  constructor(readonly total: number) {
    this.#seen = new Uint8Array(Math.ceil(total / 8));
  }

  get missing(): number {
    return this.total - this.events;
  }

  get isRight(): boolean {
    return this.missing === 0 && this.duplicates === 0 && this.wrongProcess === 0 && this.wrongVerdict === 0;
  }

  /** @param line an event of a request as a line of JSON; those to another end than this one are foreign */
  add(line: string, address: string, port: string): void {
    const match = line.includes(`"destination":{"ip":"${address}","port":${port}}`) ? REQUEST.exec(line) : null;
    const number = match === null ? this.total : Number(match[1]);
    if (number >= this.total) {
      this.foreign++;
      return;
    }
    const bit = 1 << (number & 7);
    const seen = this.#seen[number >> 3]!;
    if ((seen & bit) !== 0) {
      this.duplicates++;
      return;
    }
    this.#seen[number >> 3] = seen | bit;
    this.events++;
    if (!line.includes(`"process":{"pid":${match![2]},`)) this.wrongProcess++;
    const verdict = number % 2 === 0 ? '"verdict":"normal_mode"' : '"verdict":"hardened"';
    const hasStatus = line.includes('"status_code":');
    if (!hasStatus) this.late++;
    if (!line.includes(verdict) || (hasStatus && !line.includes('"status_code":200'))) this.wrongVerdict++;
  }
}

const REQUEST = /"original":"\/latest\/instance_id\?n=(\d+)&pid=(\d+)"/;
