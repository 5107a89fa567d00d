import { formatAddress } from '../addresses.js';
import { Constants, Layout } from './layout.js';
import type { ConnectRecord, KernelProcess } from './types.js';

const at = Layout.connect;

/**
 * A connect's record, read as far as it is asked for: of most it is enough to see that they say of their process what the
 * one before said, and two dozen views of their texts would be a good part of all the garbage that a request makes.
 */
export class DecodedConnect implements ConnectRecord {
  readonly type = 'connect';
  readonly cookie: bigint;
  readonly #bytes: Buffer;

  /** @param bytes the record, whose fixed part, ancestors and spans are there (`contradiction`) */
  constructor(
    bytes: Buffer,
    readonly time: number,
  ) {
    this.#bytes = bytes;
    this.cookie = bytes.readBigUInt64LE(at.cookie);
  }

  /** What the record says wrongly of itself, if anything. */
  static contradiction(bytes: Buffer): string | undefined {
    const count = bytes[at.ancestorCount]!;
    if (count > Constants.ancestors || at.ancestors + count * Layout.process.size > bytes.length) {
      return `${count} ancestors in ${bytes.length} bytes`;
    }
    for (const span of SPANS) {
      const offset = bytes.readUInt16LE(span + Layout.span.offset);
      const length = bytes.readUInt16LE(span + Layout.span.length);
      if (offset + length > bytes.length) return `${length} bytes at ${offset} of ${bytes.length}`;
    }
    return undefined;
  }

  get family(): 4 | 6 {
    return this.#bytes[at.family] === 4 ? 4 : 6;
  }
  get remoteAddress(): string {
    return formatAddress(this.#bytes, at.remoteAddress);
  }
  get remotePort(): number {
    return this.#bytes.readUInt16LE(at.remotePort);
  }
  get process(): KernelProcess {
    return new DecodedProcess(this.#bytes, at.process);
  }
  get uid(): number {
    return this.#bytes.readUInt32LE(at.uid);
  }
  get gid(): number {
    return this.#bytes.readUInt32LE(at.gid);
  }
  get cgroupId(): bigint {
    return this.#bytes.readBigUInt64LE(at.cgroupId);
  }
  get netns(): number {
    return this.#bytes.readUInt32LE(at.netns);
  }
  get argv(): Buffer {
    return this.#span(at.argv);
  }
  get argvTruncated(): boolean {
    return (this.#bytes.readUInt16LE(Layout.header.flags) & Constants.flagArgvTruncated) !== 0;
  }
  get executable(): Buffer {
    return this.#span(at.executable);
  }
  get cgroupPath(): Buffer {
    return this.#span(at.cgroup);
  }
  get cgroupV1Path(): Buffer {
    return this.#span(at.cgroupV1);
  }
  get ancestors(): KernelProcess[] {
    return Array.from(
      { length: this.#bytes[at.ancestorCount]! },
      (_, i) => new DecodedProcess(this.#bytes, at.ancestors + i * Layout.process.size),
    );
  }

  /** From the count of ancestors on: behind what is of the connection alone, and before all the rest. */
  get who(): Buffer {
    return this.#bytes.subarray(at.ancestorCount);
  }

  #span(span: number): Buffer {
    const offset = this.#bytes.readUInt16LE(span + Layout.span.offset);
    return this.#bytes.subarray(offset, offset + this.#bytes.readUInt16LE(span + Layout.span.length));
  }
}

const SPANS = [at.executable, at.cgroup, at.cgroupV1, at.argv];

/** `struct imds_process`, read as far as it is asked for. */
export class DecodedProcess implements KernelProcess {
  readonly pid: number;
  readonly #bytes: Buffer;
  readonly #start: number;

  constructor(bytes: Buffer, start: number) {
    this.#bytes = bytes;
    this.#start = start;
    this.pid = bytes.readUInt32LE(start + Layout.process.pid);
  }

  get startBootNs(): bigint {
    return this.#bytes.readBigUInt64LE(this.#start + Layout.process.start);
  }
  get comm(): Buffer {
    const comm = this.#bytes.subarray(this.#start + Layout.process.comm, this.#start + Layout.process.size);
    const end = comm.indexOf(0);
    return end < 0 ? comm : comm.subarray(0, end);
  }
}
