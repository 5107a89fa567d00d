import { expect, it } from 'vitest';
import type { CaptureRecord } from '../src/capture/types.js';
import { Judge } from '../src/imds/judge.js';
import { endpointsFor } from '../src/imds/providers.js';
import type { RequestEvent } from '../src/output/types.js';
import { Pipeline } from '../src/pipeline.js';
import { CLIENT, ipPacket, SERVER } from './support/packets.js';
import { packetRecord } from './support/records.js';

const packet = (cookie: bigint, payload: string): CaptureRecord =>
  packetRecord(ipPacket({ from: CLIENT, to: SERVER, seq: 1, payload }), { cookie });

it('does not let unanswered requests of thousands of tiny headers fill the memory', () => {
  const events: RequestEvent[] = [];
  const pipeline = new Pipeline({
    endpoints: endpointsFor(['alibaba']),
    judge: new Judge(),
    processes: { onConnect: () => {}, onProcess: () => {}, forFlow: () => ({ how: 'none' }), forget: () => {} },
    emit: (event) => events.push(event),
  });
  const HEADERS = 1_990;
  const REQUESTS = 300;
  for (let i = 0; i < REQUESTS; i++) {
    pipeline.accept(packet(BigInt(i + 1), `GET / HTTP/1.1\r\n${'a:\r\n'.repeat(HEADERS)}\r\n`));
  }
  // A header is an object of some 100 bytes: of those in memory there may be no more than 16 MiB hold.
  const waiting = REQUESTS - events.length;
  expect(waiting).toBeGreaterThan(0);
  expect(waiting * HEADERS * 100).toBeLessThan(16 * 1024 * 1024);
  // None is lost by that.
  pipeline.tick(10_000);
  expect(events).toHaveLength(REQUESTS);
  expect(events.every(({ judgement }) => judgement.verdict === 'normal_mode')).toBe(true);
});
