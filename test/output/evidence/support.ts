import type { PacketRecord } from '../../../src/capture/types.js';
import { Judge } from '../../../src/imds/judge.js';
import { endpointsFor } from '../../../src/imds/providers.js';
import { EvidenceRecorder } from '../../../src/output/evidence/recorder.js';
import type { DumpedPacket, Evidence } from '../../../src/output/evidence/types.js';
import { LearnedSecrets } from '../../../src/output/learned.js';
import type { RequestEvent } from '../../../src/output/types.js';
import { Pipeline, type ProcessSource } from '../../../src/pipeline.js';
import { TcpPacket } from '../../../src/wire/ip.js';
import { ACK, CLIENT, FIN, ipPacket, RST, SERVER, SYN, type TcpFields } from '../../support/packets.js';
import { packetRecord } from '../../support/records.js';

export const T0 = 1_700_000_000_000;

const PROCESSES: ProcessSource = {
  onConnect: () => {},
  onProcess: () => {},
  forFlow: () => ({
    how: 'connect',
    process: { pid: 77, name: 'curl', args: ['curl', '-H', 'Cookie: secret'], entityId: 'x', ancestors: [] },
  }),
  forget: () => {},
};

/** A pipeline whose evidence goes to an array. */
export class Dump {
  readonly packets: DumpedPacket[] = [];
  readonly events: RequestEvent[] = [];
  readonly learned = new LearnedSecrets();
  readonly recorder = new EvidenceRecorder((packet) => this.packets.push(packet), this.learned);
  readonly pipeline: Pipeline;
  time = T0;

  constructor(evidence?: (recorder: EvidenceRecorder) => Evidence) {
    this.pipeline = new Pipeline({
      endpoints: endpointsFor(['alibaba'], []),
      judge: new Judge(),
      processes: PROCESSES,
      emit: (event) => this.events.push(event),
      evidence: evidence?.(this.recorder) ?? this.recorder,
    });
  }

  /** A packet a millisecond after the last one. */
  take(
    direction: PacketRecord['direction'],
    fields: Omit<TcpFields, 'from' | 'to'>,
    port = CLIENT.port,
    cut = 0,
  ): this {
    const client = { ...CLIENT, port };
    const [from, to] = direction === 'egress' ? [client, SERVER] : [SERVER, client];
    const data = ipPacket({ from, to, ...fields });
    const said = { time: ++this.time, direction, cookie: BigInt(port), localPort: port, wireLength: data.length };
    this.pipeline.accept(packetRecord(data.subarray(0, data.length - cut), said));
    return this;
  }

  /** Time passes, so that what waits for its response is written. */
  pause(ms = 1_500): this {
    this.time += ms;
    this.pipeline.tick(this.time);
    return this;
  }

  finish(): this {
    this.pipeline.finish(++this.time);
    return this;
  }

  /** The payloads of a direction in the order they were written. */
  payloads(direction: PacketRecord['direction']): string[] {
    return this.packets
      .filter((packet) => packet.direction === direction)
      .map(({ bytes }) => payloadOf(bytes))
      .filter((text) => text !== '');
  }

  /** One direction put together by sequence numbers: what was written first at a place, `_` where nothing was. */
  stream(direction: PacketRecord['direction'], first: number): string {
    const bytes: string[] = [];
    const packet = new TcpPacket();
    for (const written of this.packets.filter((one) => one.direction === direction)) {
      packet.parse(written.bytes, written.wireLength);
      const text = payloadOf(written.bytes);
      for (let i = 0; i < text.length; i++) bytes[((packet.seq - first) | 0) + i] ??= text[i]!;
    }
    return Array.from(bytes, (byte) => byte ?? '_').join('');
  }
}

export function payloadOf(bytes: Buffer): string {
  const packet = new TcpPacket();
  if (packet.parse(bytes, bytes.length) !== undefined) throw new Error('no TCP packet was written');
  return bytes.toString('latin1', packet.payloadStart, packet.payloadEnd);
}

/** One TCP connection: both ends' sequence numbers kept as two hosts would. */
export class Talk {
  up = 1001;
  down = 5001;
  constructor(
    readonly dump: Dump,
    readonly port = CLIENT.port,
  ) {}

  open(): this {
    this.dump.take('egress', { seq: 1000, flags: SYN }, this.port);
    this.dump.take('ingress', { seq: 5000, ack: 1001, flags: SYN | ACK }, this.port);
    return this;
  }
  client(...texts: (string | Buffer)[]): this {
    for (const text of texts) {
      this.dump.take('egress', { seq: this.up, ack: this.down, payload: text }, this.port);
      this.up += text.length;
    }
    return this;
  }
  server(...texts: (string | Buffer)[]): this {
    for (const text of texts) {
      this.dump.take('ingress', { seq: this.down, ack: this.up, payload: text }, this.port);
      this.down += text.length;
    }
    return this;
  }
  close(): this {
    this.dump.take('egress', { seq: this.up++, ack: this.down, flags: FIN | ACK }, this.port);
    this.dump.take('ingress', { seq: this.down++, ack: this.up, flags: FIN | ACK }, this.port);
    return this;
  }
  reset(): this {
    this.dump.take('egress', { seq: this.up, flags: RST }, this.port);
    return this;
  }
}
