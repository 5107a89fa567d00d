import type { CaptureRecord, CaptureStats, ExchangeRecord, PacketRecord } from './capture/types.js';
import { type Alike, Exchanges, eventOfExchange } from './exchanges.js';
import type { Judge, PendingJudgement } from './imds/judge.js';
import type { Endpoint, Judgement } from './imds/types.js';
import { noneByVerdict } from './imds/verdict.js';
import type { ConnectionEvidence, Evidence } from './output/evidence/types.js';
import type { RequestEvent, TracerStats } from './output/types.js';
import type { Attributor } from './process/attribution.js';
import type { Attribution } from './process/types.js';
import { Connection } from './wire/connection.js';
import type { WireCounters } from './wire/counters.js';
import { FlowTable } from './wire/flow-table.js';
import { type PacketFailure, TcpPacket } from './wire/ip.js';
import { type Listed, RecencyList } from './wire/recency-list.js';
import type { ConnectionSink, RequestHead, ResponseHead, UnparsedBytes } from './wire/types.js';

/** A request's event is written at the latest this long after the request, in milliseconds. */
export const RESPONSE_DEADLINE_MS = 1_000;
/** Requests that wait for their response, all connections together: beyond either bound the oldest is written without. */
const MAX_PENDING_REQUESTS = 16_384;
const MAX_PENDING_BYTES = 16 * 1024 * 1024;
/** What a header takes in memory beside its bytes, for three bytes on the wire: its object and its two strings. */
const HEADER_OVERHEAD = 128;

/** What the pipeline needs to know of processes; no process is known behind the packets of a file. */
export interface ProcessSource extends Pick<Attributor, 'onConnect' | 'onProcess' | 'forFlow' | 'forget'> {
  /** What `forFlow` answers to all. */
  readonly always?: Attribution;
}

/** A request that was read and waits for its response, the end of its connection or its deadline. */
class PendingRequest implements Listed<PendingRequest> {
  before: PendingRequest | undefined = undefined;
  after: PendingRequest | undefined = undefined;

  constructor(
    readonly flow: TracedFlow,
    readonly id: number,
    readonly head: RequestHead,
    readonly judgement: PendingJudgement,
  ) {}
}

/** What the flows of a pipeline tell it: one object for all of them. */
interface FlowOwner {
  request(flow: TracedFlow, id: number, head: RequestHead): void;
  unparsed(flow: TracedFlow, what: UnparsedBytes): void;
  response(flow: TracedFlow, id: number, head: ResponseHead): void;
  ended(flow: TracedFlow): void;
}

/**
 * From records to events: the one path that all sources share. Nothing here reads a clock: time is that of the records
 * (epoch milliseconds), moved on by `tick` while there are none.
 */
export class Pipeline {
  #endpoints: ReadonlyMap<string, ReadonlyMap<number, Endpoint>>;
  readonly #judge: Judge;
  readonly #processes: ProcessSource;
  readonly #emit: (event: RequestEvent) => void;
  readonly #emitAlike: ((alike: Alike, exchange: ExchangeRecord) => void) | undefined;
  readonly #evidence: Evidence | undefined;
  readonly #exchanges: Exchanges;
  readonly #flows: FlowTable<TracedFlow>;
  /** The packet that is being read: its segment, its record, and whose it is. */
  readonly #packet = new TcpPacket();
  #record: PacketRecord | undefined;
  #endpoint: Endpoint | undefined;
  /** In the order of their requests, so that the first is the first to be due. */
  readonly #pending = new RecencyList<PendingRequest>();
  #pendingBytes = 0;
  readonly #byVerdict = noneByVerdict();
  #connections = 0;
  #requests = 0;
  #attributed = 0;
  #unattributed = 0;
  #gaps = 0;
  #refusedPackets = 0;
  #abandonedPackets = 0;

  constructor(options: {
    endpoints: readonly Endpoint[];
    judge: Judge;
    processes: ProcessSource;
    emit: (event: RequestEvent) => void;
    /** In place of `emit` for connections that came as a whole, where no event is needed of them. */
    emitAlike?: ((alike: Alike, exchange: ExchangeRecord) => void) | undefined;
    /** Where the packets behind findings go, if anywhere. */
    evidence?: Evidence | undefined;
  }) {
    this.#endpoints = byAddress(options.endpoints);
    this.#judge = options.judge;
    this.#processes = options.processes;
    this.#emit = options.emit;
    this.#emitAlike = options.emitAlike;
    this.#evidence = options.evidence;
    this.#exchanges = new Exchanges(options.judge);
    // Late packets of a connection are evidence as well, and else nothing.
    this.#flows = new FlowTable({ keepsEnded: options.evidence !== undefined });
  }

  /** Whether a request waits for its response: then `tick` has something to do soon. */
  get waiting(): boolean {
    return this.#pending.size > 0;
  }

  /** Judges connections with these from now on; those that are followed go on as they began. */
  setEndpoints(endpoints: readonly Endpoint[]): void {
    this.#endpoints = byAddress(endpoints);
    this.#endpoint = undefined;
  }

  /** Takes a record; its bytes are copied where they are kept. */
  accept(record: CaptureRecord): void {
    switch (record.type) {
      case 'packet':
        this.#onPacket(record);
        break;
      case 'connect':
        this.#processes.onConnect(record);
        break;
      case 'process':
        this.#processes.onProcess(record);
        break;
      case 'exchange':
        this.#onExchange(record);
        break;
      case 'head':
        this.#exchanges.keep(record);
        break;
      case 'passed':
        this.#flows.addPassed(record.flowKey, record, record.time);
        break;
      case 'time':
        break;
    }
  }

  /**
   * Writes what has waited for long enough at `now`, and forgets idle connections. Cheap to call often. What `full` keeps from
   * being written is for the next call.
   */
  tick(now: number, full: () => boolean = () => false): void {
    this.#flows.expire(now, full);
    for (let oldest = this.#pending.first; oldest !== undefined; oldest = this.#pending.first) {
      // Also where the clock was set back by more than that.
      if (Math.abs(now - oldest.head.time) < RESPONSE_DEADLINE_MS || full()) break;
      this.#finish(oldest, undefined);
    }
    this.#evidence?.tick();
  }

  /**
   * Between these two calls heads that came before are known again (wire/known-heads.ts): to be called around the records of
   * a batch, which holds what they hold. replay.ts does so; live, each head is read.
   */
  beginBatch(): void {
    this.#flows.counters.requestHeads.begin();
    this.#flows.counters.responseHeads.begin();
  }

  endBatch(): void {
    this.#flows.counters.requestHeads.end();
    this.#flows.counters.responseHeads.end();
  }

  /** Counts a packet that there is no time to read. */
  abandon(): void {
    this.#abandonedPackets++;
  }

  /** The capture is over: everything that waits is written. False where `full` has said so before the end: call it again. */
  finish(now: number, full: () => boolean = () => false): boolean {
    const allEnded = this.#flows.endAll(now, full);
    for (let oldest = this.#pending.first; oldest !== undefined && !full(); oldest = this.#pending.first) {
      this.#finish(oldest, undefined);
    }
    this.#exchanges.forget();
    this.#evidence?.tick();
    return allEnded && this.#pending.size === 0;
  }

  /** The counters of the interface, with the source's own and the number of lines that could not be written. */
  stats(capture: CaptureStats, logErrors: number): TracerStats {
    return {
      packets_seen: capture.packetsSeen,
      packets_captured: capture.packetsCaptured,
      ring_dropped: capture.ringDropped,
      packets_passed_over: capture.packetsPassedOver,
      truncated: capture.truncated,
      packets_refused: this.#refusedPackets,
      packets_abandoned: this.#abandonedPackets,
      connects_dropped: capture.connectsDropped,
      connections: this.#connections,
      requests: this.#requests,
      by_verdict: { ...this.#byVerdict },
      unparsed: this.#byVerdict.unparsed,
      gaps: this.#gaps,
      flows_evicted: this.#flows.evicted,
      attributed: this.#attributed,
      unattributed: this.#unattributed,
      log_errors: logErrors,
    };
  }

  #onPacket(record: PacketRecord): void {
    if (!this.#isWatched(record)) return;
    if (this.#parse(record) !== undefined) {
      this.#refusedPackets++;
      return;
    }
    this.#record = record;
    const flow = this.#flows.push(record.flowKey, record.direction, this.#packet, record.time, this.#begin);
    flow?.evidence?.packet(record, this.#packet);
  }

  /** Whether its endpoint is one of ours, which `#endpoint` then is. */
  #isWatched({ remoteAddress, remotePort }: Pick<PacketRecord, 'remoteAddress' | 'remotePort'>): boolean {
    if (remotePort === this.#endpoint?.port && remoteAddress === this.#endpoint.address) return true;
    const endpoint = this.#endpoints.get(remoteAddress)?.get(remotePort);
    if (endpoint === undefined) return false;
    this.#endpoint = endpoint;
    return true;
  }

  /** A connection that came as a whole: what its packets would come to one by one. */
  #onExchange(record: ExchangeRecord): void {
    if (!this.#isWatched(record)) return;
    const endpoint = this.#endpoint!;
    // The native module tells of none as a whole that has the addresses of one that may be open.
    if (this.#flows.size > 0) this.#flows.replace(record.flowKey, record.time);
    this.#connections++;
    const attribution = this.#processes.always ?? this.#processes.forFlow(identityOf(record));
    const alike = this.#exchanges.alike(record, endpoint, attribution);
    if (alike === undefined) {
      // Nor of any whose head is read otherwise here; if it did, that would have to be seen.
      const what: UnparsedBytes = { time: record.requestTime, reason: 'non_http', bytes: 0 };
      const judgement = this.#judge.unparsed(endpoint, what);
      const flow = { identity: identityOf(record), endpoint, family: record.family, attribution };
      const event = { ...eventOf(flow, what.time, judgement), unparsed: what };
      this.#count(judgement, attribution);
      this.#emit(event);
      return;
    }
    this.#requests++;
    this.#count(alike.judgement, attribution);
    if (this.#emitAlike !== undefined) this.#emitAlike(alike, record);
    else this.#emit(eventOfExchange(alike, record));
  }

  #parse(record: PacketRecord): PacketFailure | undefined {
    // Evidence copies the packet by the places that are found here.
    if (this.#evidence !== undefined) return this.#packet.parse(record.data, record.wireLength);
    return this.#packet.parse(record.batch, record.wireLength, record.start, record.end);
  }

  /** The flow of a connection that begins with the packet that is being read. */
  readonly #begin = (): TracedFlow => {
    const record = this.#record!;
    const endpoint = this.#endpoint!;
    this.#connections++;
    const identity = identityOf(record);
    return new TracedFlow(
      this.#owner,
      this.#flows.counters,
      this.#packet.version,
      endpoint,
      identity,
      this.#processes.forFlow(identity),
      this.#evidence?.begin(),
    );
  };

  readonly #owner: FlowOwner = {
    request: (flow, id, head) => this.#onRequest(flow, id, head),
    unparsed: (flow, what) => this.#onUnparsed(flow, what),
    response: (flow, id, head) => {
      const pending = flow.pendingOf(id);
      if (pending !== undefined) this.#finish(pending, head);
    },
    ended: (flow) => {
      const { identity } = flow;
      if (flow.pending !== undefined) this.#finish(flow.pending, undefined);
      if (flow.morePending !== undefined)
        for (const request of flow.morePending.values()) this.#finish(request, undefined);
      flow.evidence?.ended();
      // Addresses are used again. A socket cookie never is, and a connection that was only idle for long may go on.
      if (identity.cookie === 0n) this.#processes.forget(identity);
    },
  };

  #onRequest(flow: TracedFlow, id: number, head: RequestHead): void {
    this.#requests++;
    flow.evidence?.request(head.time);
    const judgement = this.#judge.begin(head, flow.endpoint, flow.attribution.process?.entityId);
    const pending = new PendingRequest(flow, id, head, judgement);
    flow.addPending(pending);
    this.#pending.add(pending);
    this.#pendingBytes += bytesOf(head);
    while (this.#pending.size > MAX_PENDING_REQUESTS || this.#pendingBytes > MAX_PENDING_BYTES) {
      this.#finish(this.#pending.first!, undefined);
    }
  }

  #finish(pending: PendingRequest, response: ResponseHead | undefined): void {
    const { flow, head } = pending;
    flow.removePending(pending);
    this.#pending.remove(pending);
    this.#pendingBytes -= bytesOf(head);
    const judgement = this.#judge.finish(pending.judgement, response, flow.attribution.process?.entityId);
    const event = eventOf(flow, head.time, judgement);
    event.request = head;
    if (response !== undefined) event.response = response;
    this.#write(flow, event);
  }

  #onUnparsed(flow: TracedFlow, what: UnparsedBytes): void {
    if (what.reason === 'gap') this.#gaps++;
    const judgement = this.#judge.unparsed(flow.endpoint, what);
    const event = eventOf(flow, what.time, judgement);
    event.unparsed = what;
    this.#write(flow, event);
  }

  #write(flow: TracedFlow, event: RequestEvent): void {
    this.#count(event.judgement, event.attribution);
    this.#emit(event);
    flow.evidence?.event(event);
  }

  #count({ verdict }: Judgement, { how }: Attribution): void {
    this.#byVerdict[verdict]++;
    if (how === 'none') this.#unattributed++;
    else this.#attributed++;
  }
}

type Identity = Pick<
  PacketRecord,
  'cookie' | 'cgroupId' | 'localAddress' | 'localPort' | 'remoteAddress' | 'remotePort'
>;

const identityOf = ({ cookie, cgroupId, localAddress, localPort, remoteAddress, remotePort }: Identity): Identity => ({
  cookie,
  cgroupId,
  localAddress,
  localPort,
  remoteAddress,
  remotePort,
});

/** A connection that is followed, with who is behind it. */
class TracedFlow implements ConnectionSink {
  readonly connection: Connection;
  /** A request that waits for its response, and where a client pipelines the others, by their ids. */
  pending: PendingRequest | undefined = undefined;
  morePending: Map<number, PendingRequest> | undefined = undefined;
  readonly #owner: FlowOwner;

  constructor(
    owner: FlowOwner,
    counters: WireCounters,
    readonly family: 4 | 6,
    readonly endpoint: Endpoint,
    readonly identity: Identity,
    readonly attribution: Attribution,
    readonly evidence: ConnectionEvidence | undefined,
  ) {
    this.#owner = owner;
    this.connection = new Connection(this, counters);
  }

  pendingOf(id: number): PendingRequest | undefined {
    return this.pending?.id === id ? this.pending : this.morePending?.get(id);
  }
  addPending(request: PendingRequest): void {
    // Those of the map are younger than the one beside it, so that all are told of in their order.
    if (this.pending === undefined && (this.morePending?.size ?? 0) === 0) {
      this.pending = request;
    } else {
      this.morePending ??= new Map();
      this.morePending.set(request.id, request);
    }
  }
  removePending(request: PendingRequest): void {
    if (this.pending === request) this.pending = undefined;
    else this.morePending?.delete(request.id);
  }

  request(id: number, head: RequestHead): void {
    this.#owner.request(this, id, head);
  }
  unparsed(_id: number, what: UnparsedBytes): void {
    this.#owner.unparsed(this, what);
  }
  response(id: number, head: ResponseHead): void {
    this.#owner.response(this, id, head);
  }
  ended(): void {
    this.#owner.ended(this);
  }
}

function eventOf(
  flow: Pick<TracedFlow, 'identity' | 'endpoint' | 'family' | 'attribution'>,
  time: number,
  judgement: Judgement,
): RequestEvent {
  const { identity, endpoint, family, attribution } = flow;
  return {
    kind: 'request',
    time,
    client: { address: identity.localAddress, port: identity.localPort },
    endpoint: { address: endpoint.address, port: endpoint.port },
    family,
    cookie: identity.cookie,
    attribution,
    judgement,
  };
}

const bytesOf = ({ headBytes, headers }: RequestHead): number => headBytes + headers.length * HEADER_OVERHEAD;

function byAddress(endpoints: readonly Endpoint[]): Map<string, Map<number, Endpoint>> {
  const table = new Map<string, Map<number, Endpoint>>();
  for (const endpoint of endpoints) {
    const ports = table.get(endpoint.address) ?? new Map<number, Endpoint>();
    table.set(endpoint.address, ports.set(endpoint.port, endpoint));
  }
  return table;
}
