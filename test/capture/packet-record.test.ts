import { expect, it } from 'vitest';
import { parseAddress } from '../../src/addresses.js';
import { Constants, Layout } from '../../src/capture/layout.js';
import { decodeBatch } from '../../src/capture/records.js';
import type { PacketRecord } from '../../src/capture/types.js';

interface Fields {
  cookie?: bigint;
  cgroupId?: bigint;
  local?: [address: string, port: number];
  remote?: [address: string, port: number];
  egress?: boolean;
}

/** A packet's record after its way through the native module's layout. */
function decoded({
  cookie = 0n,
  cgroupId = 0n,
  local = ['10.0.0.1', 40_000],
  remote = ['100.100.100.200', 80],
  egress = true,
}: Fields): PacketRecord {
  const { header, packet } = Layout;
  const bytes = Buffer.alloc(packet.size);
  bytes.writeUInt32LE(bytes.length, header.length);
  bytes.writeUInt16LE(Constants.recordPacket, header.type);
  bytes.writeUInt16LE(egress ? Constants.flagEgress : 0, header.flags);
  bytes.writeBigUInt64LE(cookie, packet.cookie);
  bytes.writeBigUInt64LE(cgroupId, packet.cgroupId);
  parseAddress(local[0])!.copy(bytes, packet.localAddress);
  parseAddress(remote[0])!.copy(bytes, packet.remoteAddress);
  bytes.writeUInt16LE(local[1], packet.localPort);
  bytes.writeUInt16LE(remote[1], packet.remotePort);
  bytes.writeUInt32LE(packet.size, packet.data);
  const records: PacketRecord[] = [];
  decodeBatch(bytes, (record) => records.push(record as PacketRecord));
  return records[0]!;
}

it('gives every field back, whatever was decoded before', () => {
  const ends: [string, number][] = [
    ['10.0.0.1', 1],
    ['255.255.255.255', 65_535],
    ['::', 0],
    ['::1', 80],
    ['fd00:ec2::254', 80],
    ['::fffe:0:1', 80],
    ['0.0.0.0', 80],
    ['10.0.0.1', 80],
    ['10.0.0.1', 80],
  ];
  for (const local of ends) {
    for (const remote of ends) {
      const cookie = 2n ** 63n + 5n;
      expect(decoded({ cookie, cgroupId: 0xffff_ffffn, local, remote, egress: false })).toMatchObject({
        direction: 'ingress',
        cookie,
        cgroupId: 0xffff_ffffn,
        localAddress: local[0],
        localPort: local[1],
        remoteAddress: remote[0],
        remotePort: remote[1],
      });
    }
  }
});

it('has a key of its own for each connection, the same in both directions', () => {
  const connections: Fields[] = [];
  for (const cookie of [1n, 2n ** 31n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 64n - 1n]) {
    connections.push({ cookie });
  }
  const addresses = ['0.0.0.0', '0.0.0.1', '10.0.0.1', '128.0.0.0', '255.255.255.255', '::', '::1', '::fffe:0:1'];
  for (const address of addresses) {
    for (const port of [0, 1, 40_000, 65_535]) {
      // More remote ends than have a number.
      for (let end = 0; end < 40; end++) {
        connections.push({ local: [address, port], remote: [`100.100.100.${end}`, 80 + (end % 2)] });
      }
    }
  }
  const keys = connections.map((fields) => decoded(fields).flowKey);
  expect(keys).not.toContain(undefined);
  expect(new Map(keys.map((key) => [key, true])).size).toBe(connections.length);
  expect(connections.map((fields) => decoded({ ...fields, egress: false }).flowKey)).toEqual(keys);
});
