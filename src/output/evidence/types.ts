import type { PacketRecord } from '../../capture/types.js';
import type { TcpPacket } from '../../wire/ip.js';
import type { RequestEvent } from '../types.js';

/** A dump of the packets behind findings, as the pipeline sees it. Never throws. */
export interface Evidence {
  /** A connection begins that is followed. */
  begin(): ConnectionEvidence;
  /** Called often: what has waited for the end of its connection is written. */
  tick(): void;
}

/** The packets of one connection. */
export interface ConnectionEvidence {
  /** A request was read whose first byte came at `time`; an event with this time follows. */
  request(time: number): void;
  event(event: RequestEvent): void;
  /** A packet of the connection, handed over once what it completes was told. Its bytes are copied where they are kept. */
  packet(record: PacketRecord, packet: TcpPacket): void;
  /** No request or event follows. Packets may. */
  ended(): void;
}

/** A packet as it is written: its bytes are blanked already. */
export interface DumpedPacket {
  /** Epoch milliseconds with a fraction. */
  time: number;
  direction: PacketRecord['direction'];
  /** From the IP header on. */
  bytes: Buffer;
  /** Bytes on the wire; more than there are in `bytes` when the packet was cut. */
  wireLength: number;
  /** Printable text of one line each. */
  comments: readonly string[];
}

/** A kind of packet file. */
export interface PacketFormat {
  /** What stands before the first packet. */
  fileHeader(): Buffer;
  packet(packet: DumpedPacket): Buffer;
}
