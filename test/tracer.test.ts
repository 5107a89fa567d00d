import { afterEach, describe, expect, it, vi } from 'vitest';
import type { CaptureRecord, CaptureSource } from '../src/capture/types.js';
import { captureError } from '../src/errors.js';
import { Judge } from '../src/imds/judge.js';
import { endpointsFor } from '../src/imds/providers.js';
import type { TracerEvent } from '../src/output/types.js';
import { Pipeline } from '../src/pipeline.js';
import { runTracer } from '../src/tracer.js';
import { CLIENT, connection, GET, ipPacket, SERVER } from './support/packets.js';
import { NOTHING_SEEN, packetRecord } from './support/records.js';

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
    stats: () => NOTHING_SEEN,
    close: () => {},
  };
}

const packet = (payload: string): CaptureRecord =>
  packetRecord(ipPacket({ from: CLIENT, to: SERVER, seq: 1, payload }), { time: Date.now() });

function run(
  source: CaptureSource,
  logs: Pick<Parameters<typeof runTracer>[0], 'logFailing'> & { logErrors?: () => number } = {},
) {
  const events: TracerEvent[] = [];
  const write = (event: TracerEvent): unknown => events.push(event);
  const pipeline = new Pipeline({
    endpoints: endpointsFor(['alibaba']),
    judge: new Judge(),
    processes: { onConnect: () => {}, onProcess: () => {}, forFlow: () => ({ how: 'none' }), forget: () => {} },
    emit: write,
  });
  return { events, tracer: runTracer({ source, pipeline, write, logErrors: () => 0, ...logs }) };
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

  it('gives no response up that comes in time by the clock of records which waited', async () => {
    const sent = Date.now() - 5_000;
    const [syn, synAck, ack, request, response] = connection({ request: GET('/latest/meta-data/'), time: sent }).map(
      ({ ip, time }, i) => packetRecord(ip, { time, direction: i === 1 || i === 4 ? 'ingress' : 'egress' }),
    );
    const handing =
      (records: readonly (CaptureRecord | undefined)[]) => (onRecord: (record: CaptureRecord) => void) => {
        for (const record of records) onRecord(record!);
        return records.length;
      };
    const { events, tracer } = run(sourceOf(handing([syn, synAck, ack, request]), handing([response])));
    await tracer.done;
    expect(events[0]).toMatchObject({ kind: 'request', response: { status: 200 } });
  });

  it('that is stopped stops capturing, and then writes all that was captured', async () => {
    let captured = 40;
    const told: string[] = [];
    const source: CaptureSource = {
      ...sourceOf(),
      next: async (_timeoutMs, onRecord) => {
        await new Promise(setImmediate);
        if (captured === 30) tracer.stop();
        if (captured-- <= 0) return -1;
        onRecord(packet(''));
        told.push('record');
        return 1;
      },
      stop: () => told.push('stop'),
    };
    const { tracer } = run(source);
    await tracer.done;
    expect(told).toEqual([...Array(11).fill('record'), 'stop', ...Array(29).fill('record')]);
  });

  it('says how much a stop left unread, where writing takes too long', async () => {
    let elapsed = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => elapsed);
    let stopped = false;
    let left = 5;
    const source: CaptureSource = {
      ...sourceOf(),
      next: async (_timeoutMs, onRecord) => {
        await new Promise(setImmediate);
        if (!stopped) tracer.stop();
        else elapsed += 9_000;
        if (stopped && left-- <= 0) return -1;
        onRecord(packet(''));
        return 1;
      },
      stop: () => {
        stopped = true;
      },
    };
    const { events, tracer } = run(source);
    expect((await tracer.done).packets_abandoned).toBe(3);
    expect(events).toMatchObject([{ kind: 'capture-loss', lost: { stop: 3 } }, { kind: 'tracer-stopped' }]);
  });

  it('says losses within a second also while the wall clock goes backwards', async () => {
    let elapsed = 0;
    let clock = Date.now();
    vi.spyOn(performance, 'now').mockImplementation(() => elapsed);
    vi.spyOn(Date, 'now').mockImplementation(() => clock);
    const stats = { ...NOTHING_SEEN };
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

  it('says what the logs have lost in one event, when they can be written again', async () => {
    let elapsed = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => elapsed);
    const log = { lost: 0, failing: false };
    const at = (state: typeof log) => () => {
      Object.assign(log, state);
      elapsed += 1_001;
      return 0;
    };
    const { events, tracer } = run(
      sourceOf(
        at({ lost: 5, failing: true }),
        at({ lost: 9, failing: true }),
        at({ lost: 12, failing: false }),
        at({ lost: 12, failing: false }),
        at({ lost: 13, failing: true }),
      ),
      { logErrors: () => log.lost, logFailing: () => log.failing },
    );
    expect((await tracer.done).log_errors).toBe(13);
    // The last outage has no end, so the end of the tracer is that.
    expect(events).toMatchObject([
      { kind: 'capture-loss', lost: { log: 12 } },
      { kind: 'capture-loss', lost: { log: 1 } },
      { kind: 'tracer-stopped' },
    ]);
  });
});
