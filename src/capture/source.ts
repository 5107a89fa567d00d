import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { captureError } from '../errors.js';
import { encodeEndpoints, readNativeError } from './encoding.js';
import { Layout } from './layout.js';
import type { Handle, NativeModule } from './native.js';
import { decodeBatch } from './records.js';
import type { CaptureRecord, CaptureSource, CaptureStats, EndpointAddress } from './types.js';

/** Room for one of the largest records beside hundreds of the usual ones: a batch is worked off in one turn of the event loop. */
const BATCH_BYTES = 256 * 1024;

/** Closed while the call waited for a worker thread; the end of a file, or of what was captured before the stop. */
const ENDS: ReadonlySet<number> = new Set([-constants.errno.EBADF, -constants.errno.ENODATA]);

/** A source of the native module behind the CaptureSource interface. The batch buffer is its own and kept as long as it. */
export class NativeSource implements CaptureSource {
  readonly description: string;
  readonly #batch: Buffer;
  /** What of the batch was not handed over yet. */
  #rest: Buffer;
  readonly #stats = Buffer.alloc(Layout.stats.size);
  #closed = false;

  constructor(
    readonly kind: CaptureSource['kind'],
    protected readonly native: NativeModule,
    protected readonly handle: Handle,
    batchBytes = BATCH_BYTES,
  ) {
    this.#batch = Buffer.allocUnsafeSlow(batchBytes);
    this.#rest = this.#batch.subarray(0, 0);
    this.description = native.description(handle);
  }

  /**
   * As CaptureSource says; -1 also once closed. One call at a time: IMDS_E_READ otherwise, and for what the native module
   * reports.
   */
  async next(timeoutMs: number, onRecord: (record: CaptureRecord) => void, enough?: () => boolean): Promise<number> {
    if (this.#closed) return -1;
    if (this.#rest.length === 0) {
      const used = await this.native.next(this.handle, this.#batch, this.#batch.length, timeoutMs);
      if (ENDS.has(used)) return -1;
      if (used < 0) {
        throw captureError('IMDS_E_READ', `Reading from the ${this.kind} source failed: ${getSystemErrorName(used)}`);
      }
      this.#rest = this.#batch.subarray(0, used);
    }
    const batch = this.#rest;
    // A batch that contradicts itself is not read again.
    this.#rest = batch.subarray(batch.length);
    const { count, bytes } = decodeBatch(batch, onRecord, enough);
    this.#rest = batch.subarray(bytes);
    return count;
  }

  wake(): void {
    this.native.wake(this.handle);
  }

  stats(): CaptureStats {
    this.native.stats(this.handle, this.#stats);
    const at = (offset: number): number => Number(this.#stats.readBigUInt64LE(offset));
    return {
      packetsSeen: at(Layout.stats.packetsSeen),
      packetsCaptured: at(Layout.stats.packetsCaptured),
      ringDropped: at(Layout.stats.ringDropped),
      packetsPassedOver: at(Layout.stats.packetsPassedOver),
      truncated: at(Layout.stats.truncated),
      connectsSeen: at(Layout.stats.connectsSeen),
      connectsDropped: at(Layout.stats.connectsDropped),
    };
  }

  stop(): void {
    this.native.stop(this.handle);
  }

  setEndpoints(endpoints: readonly EndpointAddress[]): void {
    const error = Buffer.alloc(Layout.error.size);
    if (this.native.setEndpoints(this.handle, encodeEndpoints(endpoints), endpoints.length, error) === 0) return;
    throw captureError(
      'IMDS_E_ENDPOINTS',
      `The endpoints of the ${this.kind} source can't be changed: ${readNativeError(error).text}`,
      'Restart the tracer with them.',
    );
  }

  close(): void {
    this.#closed = true;
    this.native.close(this.handle);
  }
}
