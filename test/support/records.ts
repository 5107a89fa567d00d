import type { CaptureStats, PacketRecord } from '../../src/capture/types.js';
import { CLIENT, SERVER } from './packets.js';

/** A packet's record as a source gives it: a request's, from CLIENT to SERVER, where nothing else is said. */
export function packetRecord(
  data: Buffer,
  fields: Partial<Omit<PacketRecord, 'type' | 'data' | 'batch' | 'start' | 'end' | 'flowKey'>> = {},
): PacketRecord {
  const record = {
    time: 1_000,
    direction: 'egress' as const,
    cookie: 1n,
    cgroupId: 0n,
    localAddress: CLIENT.address,
    localPort: CLIENT.port,
    remoteAddress: SERVER.address,
    remotePort: SERVER.port,
    wireLength: data.length,
    ...fields,
  };
  const { cookie, localAddress, localPort, remoteAddress, remotePort } = record;
  const ends = `${localAddress} ${localPort} ${remoteAddress} ${remotePort}`;
  return {
    type: 'packet',
    ...record,
    data,
    batch: data,
    start: 0,
    end: data.length,
    flowKey: cookie === 0n ? ends : cookie,
  };
}

/** The counters of a source that has seen nothing. */
export const NOTHING_SEEN: CaptureStats = {
  packetsSeen: 0,
  packetsCaptured: 0,
  ringDropped: 0,
  packetsPassedOver: 0,
  truncated: 0,
  connectsSeen: 0,
  connectsDropped: 0,
};
