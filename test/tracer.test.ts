import { afterEach, describe, expect, it, vi } from 'vitest';
import type { CaptureRecord, CaptureSource, CaptureStats } from '../src/capture/types.js';
import { captureError } from '../src/errors.js';
import { Judge } from '../src/imds/judge.js';
import { endpointsFor } from '../src/imds/providers.js';
import type { TracerEvent } from '../src/output/types.js';
import { Pipeline } from '../src/pipeline.js';
import { runTracer } from '../src/tracer.js';
import { CLIENT, GET, ipPacket, SERVER } from './support/packets.js';

const NOTHING: CaptureStats = {
  packetsSeen: 0,
  packetsCaptured: 0,
  ringDropped: 0,
  packetsPassedOver: 0,
  truncated: 0,
  connectsSeen: 0,
  connectsDropped: 0,
};

/** A source whose reads are what `reads` does, one after the other, each after a turn of the event loop; then it ends. */
function sourceOf(...reads: ((onRecord: (record: CaptureRecord) => void) => number)[]): CaptureSource {
  return {
    kind: 'ebpf',
    description: 'made by hand',
    next: async (_timeoutMs, onRecord) => {
      await new Promise(setImmediate);
      return reads.shift()?.(onRecord) ?? -1;
    },
    wake: () => {},
    stop: () => {},
    stats: () => NOTHING,
    close: () => {},
  };
}

function packet(payload: string): CaptureRecord {
  const data = ipPacket({ from: CLIENT, to: SERVER, seq: 1, payload });
  return {
    type: 'packet',
    time: Date.now(),
    direction: 'egress',
    cookie: 1n,
    cgroupId: 0n,
    localAddress: CLIENT.address,
    localPort: CLIENT.port,
    remoteAddress: SERVER.address,
    remotePort: SERVER.port,
    data,
    wireLength: data.length,
  };
}

function run(source: CaptureSource) {
  const events: TracerEvent[] = [];
  const write = (event: TracerEvent): unknown => events.push(event);
  const pipeline = new Pipeline({
    endpoints: endpointsFor(['alibaba']),
    judge: new Judge(),
    processes: { onConnect: () => {}, onProcess: () => {}, forFlow: () => ({ how: 'none' }), forget: () => {} },
    emit: write,
  });
  return { events, tracer: runTracer({ source, pipeline, write, logErrors: () => 0 }) };
}

afterEach(() => vi.restoreAllMocks());

describe('a tracer', () => {
  it('whose source fails writes what it has read and that it stopped, and gives the error on', async () => {
    const failure = captureError('IMDS_E_READ', 'Reading from the ebpf source failed: EIO');
    const { events, tracer } = run(
      sourceOf(
        (onRecord) => {
          onRecord(packet(GET('/latest/meta-data/')));
          return 1;
        },
        () => {
          throw failure;
        },
      ),
    );
    await expect(tracer.done).rejects.toBe(failure);
    expect(events.map(({ kind }) => kind)).toEqual(['request', 'tracer-stopped']);
    expect(events[1]).toMatchObject({ stats: { requests: 1 } });
  });

  it('says losses within a second also while the wall clock goes backwards', async () => {
    let elapsed = 0;
    let clock = Date.now();
    vi.spyOn(performance, 'now').mockImplementation(() => elapsed);
    vi.spyOn(Date, 'now').mockImplementation(() => clock);
    const stats = { ...NOTHING };
    const source = sourceOf(
      () => {
        clock -= 3_600_000;
        stats.ringDropped = 7;
        elapsed = 1_001;
        return 0;
      },
      () => {
        expect(events).toEqual([{ kind: 'capture-loss', time: clock, lost: { ring: 7 } }]);
        elapsed = 60_001;
        return 0;
      },
    );
    const { events, tracer } = run({ ...source, stats: () => stats });
    await tracer.done;
    expect(events.map(({ kind }) => kind)).toEqual(['capture-loss', 'tracer-stats', 'tracer-stopped']);
  });
});
