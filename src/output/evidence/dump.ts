import type { Say } from '../block-writer.js';
import type { LearnedSecrets } from '../learned.js';
import type { RotationOptions } from '../numbered-files.js';
import { PacketFile } from './packet-file.js';
import { EvidenceRecorder } from './recorder.js';
import type { ConnectionEvidence, Evidence } from './types.js';

/** The option `--evidence`: connections with a normal-mode request, without their secrets, in a packet file. */
export class EvidenceDump implements Evidence {
  readonly #file: PacketFile;
  readonly #recorder: EvidenceRecorder;

  /**
   * Makes the file. Throws a usage error where that can't be done. `learned` is that of the other outputs; `say` hears when it
   * can't be written.
   */
  constructor(path: string, learned: LearnedSecrets, rotation?: RotationOptions, say?: Say) {
    this.#file = new PacketFile(path, rotation, say);
    this.#recorder = new EvidenceRecorder((packet) => this.#file.append(packet), learned);
  }

  /** Packets that were lost to a full or slow disk. */
  get errors(): number {
    return this.#file.errors;
  }

  begin(): ConnectionEvidence {
    return this.#recorder.begin();
  }

  tick(): void {
    this.#recorder.tick();
  }

  /** More packets should wait for `room`. */
  get full(): boolean {
    return this.#file.full;
  }

  /** Resolves when there is room for more packets, soon in any case. Never rejects. */
  room(): Promise<void> {
    return this.#file.room();
  }

  /** Begins a file at the path, after something outside has renamed the one that was there. */
  reopen(): void {
    this.#file.reopen();
  }

  /** One line for people. */
  summary(): string {
    const { packets, connections, dropped } = this.#recorder;
    const left = dropped > 0 ? `; ${dropped} earlier packets of these were not kept` : '';
    return `evidence: ${packets} packets of ${connections} connections in ${this.#file.path}${left}`;
  }

  /** Writes what is pending, within a bounded time, and closes. Never rejects. */
  close(): Promise<void> {
    return this.#file.close();
  }
}
