import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { defaultRingBytes } from '../../src/capture/ring-size.js';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const ROOT = 'Name:\tnode\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\n';
/** As under systemd/imds_tracer_tool.service. */
const SERVICE = 'Name:\tnode\nCapPrm:\t000001ffffffffff\nCapEff:\t000000c000081004\n';

it.each([
  ['root', ROOT, 4 * GIB, 2 * MIB],
  ['the service, which may not raise its priority', SERVICE, 4 * GIB, 8 * MIB],
  ['the service on a small host', SERVICE, 0.5 * GIB, 2 * MIB],
  ['a process that can not read its status', '', 4 * GIB, 8 * MIB],
])('the ring of %s', (_, status, memory, bytes) => {
  expect(defaultRingBytes(status, memory)).toBe(bytes);
});

it('reads its own capabilities', () => {
  const hasNice = /^CapEff:\s*[0-9a-f]{10}[89a-f][0-9a-f]{5}$/m.test(readFileSync('/proc/self/status', 'latin1'));
  expect(defaultRingBytes(undefined, 4 * GIB)).toBe(hasNice ? 2 * MIB : 8 * MIB);
});
