import { join } from 'node:path';
import type { EndpointAddress } from '../capture/types.js';
import { usageError } from '../errors.js';
import { endpointsFor, PROVIDER_NAMES } from '../imds/providers.js';
import type { Metric } from '../metrics/types.js';
import type { EventContext } from '../output/context.js';
import type { ShownEvent } from '../output/redact.js';
import type { EventSink } from '../output/sink.js';
import type { TextLine } from '../output/text.js';
import { type IsTraced, refuseTraced, secureOptions } from './connect.js';
import { Courier } from './courier.js';
import { readHeadersFile } from './headers-file.js';
import { MessageMaker, SharedForms } from './message.js';
import { openOtlpHttp } from './otlp-http.js';
import { otlpEnvelope } from './otlp-record.js';
import type { Sender } from './sender.js';
import { Spool } from './spool.js';
import { openSyslogDatagrams } from './syslog-datagrams.js';
import { openSyslogStream } from './syslog-stream.js';
import type { ShipTarget } from './target.js';

/** What a stop may take to bring what waits, in milliseconds; the rest is for the next start. */
const FLUSH_MS = 3_000;

export interface ShipperOptions {
  targets: readonly ShipTarget[];
  /** The spools are folders in it, one a target. */
  spoolDir: string;
  /** Of each spool, at most. */
  spoolBytes: number;
  context: EventContext;
  /** What is traced besides the metadata services that there are. */
  endpoint: readonly EndpointAddress[];
  /** Hears, for people, what goes wrong with a receiver and that it goes well again. May hold any character. */
  say: (message: string) => void;
}

/** Sends each event to every target, through a spool on disk: a receiver that is away or slow costs nothing but delay. */
export class Shipper implements EventSink {
  readonly metrics: readonly Metric[];
  readonly #options: ShipperOptions;
  readonly #isTraced: IsTraced;
  #routes: Route[] = [];
  /** What targets that are no more had counted. */
  #droppedBefore: number | undefined;

  /** Opens the spools; sending begins at once. Throws a TracerError where a target or spool can't be used. */
  constructor(options: ShipperOptions) {
    this.#options = options;
    this.#isTraced = tracedBy(options.endpoint);
    this.#routes = this.#openRoutes(options.targets);
    this.metrics = METRICS.map(({ read, ...metric }) => ({
      ...metric,
      labels: ['target'],
      read: () => this.#routes.map((route) => ({ labels: { target: route.target.name }, value: read(route) })),
    }));
  }

  /** Events that a receiver will never get; undefined where there was never one. */
  get undelivered(): number | undefined {
    if (this.#routes.length === 0 && this.#droppedBefore === undefined) return undefined;
    return this.#routes.reduce((sum, route) => sum + route.dropped, this.#droppedBefore ?? 0);
  }

  write(event: ShownEvent, text: TextLine): void {
    const shared = new SharedForms();
    for (const route of this.#routes) route.write(event, text, shared);
  }

  async room(): Promise<void> {
    for (const { spool } of this.#routes) await spool.room();
  }

  /**
   * Goes on with these targets. Those that were there before go on undisturbed; a changed one goes on with what waits for
   * it; what waits for one that is no more stays on disk. Throws, with all as it was, where one can't be used.
   */
  async retarget(targets: readonly ShipTarget[]): Promise<void> {
    const known = new Map(this.#routes.map((route) => [route.target.id, route]));
    for (const target of targets) checkTarget(target, this.#isTraced);
    refuseTwice(targets);
    const added = this.#openRoutes(targets.filter(({ id }) => !known.has(id)));
    const ids = new Set(targets.map(({ id }) => id));
    const leaving = this.#routes.filter(({ target }) => !ids.has(target.id));
    this.#routes = [...this.#routes.filter((route) => !leaving.includes(route)), ...added];
    for (const { dropped } of leaving) this.#droppedBefore = (this.#droppedBefore ?? 0) + dropped;
    await Promise.all([
      ...leaving.map((route) => route.close()),
      ...targets.map((target) => known.get(target.id)?.change(target)),
    ]);
  }

  /** Brings what waits, within 3 s; what is left is sent after the next start. */
  async close(): Promise<void> {
    await Promise.all(this.#routes.map((route) => route.close()));
  }

  #openRoutes(targets: readonly ShipTarget[]): Route[] {
    refuseTwice(targets);
    // All of them before the first file is made.
    for (const target of targets) checkTarget(target, this.#isTraced);
    const opened: Route[] = [];
    try {
      for (const target of targets) opened.push(new Route(target, this.#options, this.#isTraced));
    } catch (error) {
      for (const route of opened) void route.close();
      throw error;
    }
    return opened;
  }
}

/** One target with its spool. */
class Route {
  readonly spool: Spool;
  target: ShipTarget;
  /** What couriers before this one counted. */
  #sent = 0;
  #refused = 0;
  #failures = 0;
  #courier: Courier;
  #maker: MessageMaker;
  readonly #options: ShipperOptions;
  readonly #isTraced: IsTraced;

  constructor(target: ShipTarget, options: ShipperOptions, isTraced: IsTraced) {
    this.target = target;
    this.#options = options;
    this.#isTraced = isTraced;
    this.#maker = new MessageMaker(target, options.context);
    this.spool = new Spool(join(options.spoolDir, target.id), options.spoolBytes);
    this.#courier = this.#send();
  }

  get sent(): number {
    return this.#sent + this.#courier.sent;
  }
  get failures(): number {
    return this.#failures + this.#courier.failures;
  }
  get dropped(): number {
    return this.spool.dropped + this.#refused + this.#courier.refused;
  }
  get isUp(): boolean {
    return this.#courier.problem === undefined;
  }

  write(event: ShownEvent, text: TextLine, shared: SharedForms): void {
    this.spool.append(this.#maker.make(event, text, shared));
  }

  /** The same receiver, but for certificates, headers and the like. */
  async change(target: ShipTarget): Promise<void> {
    if (keyOf(target) === keyOf(this.target)) return;
    this.target = target;
    this.#maker = new MessageMaker(target, this.#options.context);
    const { sent, refused, failures } = await this.#stop();
    this.#sent += sent;
    this.#refused += refused;
    this.#failures += failures;
    this.#courier = this.#send();
  }

  async close(): Promise<void> {
    await this.#stop();
    const left = this.spool.waitingBytes;
    await this.spool.close();
    if (left > 0) this.#say(`${left} bytes of events wait in ${this.spool.path} for the next start`);
  }

  async #stop(): Promise<Courier> {
    await this.#courier.stop(FLUSH_MS);
    return this.#courier;
  }

  #send(): Courier {
    const courier = new Courier(this.spool, opener(this.target, this.#options.context, this.#isTraced), () => {
      const { problem } = courier;
      this.#say(problem === undefined ? 'events arrive again' : `${problem}; events wait in the spool`);
    });
    return courier;
  }

  #say(message: string): void {
    this.#options.say(`--ship ${this.target.name}: ${message}`);
  }
}

function opener(target: ShipTarget, context: EventContext, isTraced: IsTraced): () => Promise<Sender> {
  if (target.kind === 'otlp') {
    const envelope = otlpEnvelope(context);
    return async () => openOtlpHttp(target, envelope, isTraced);
  }
  const open = target.transport === 'udp' ? openSyslogDatagrams : openSyslogStream;
  return () => open(target, isTraced);
}

const METRICS: readonly (Omit<Metric, 'read' | 'labels'> & { read: (route: Route) => number })[] = [
  {
    name: 'ship_sent_total',
    help: 'Events that arrived at the receiver.',
    type: 'counter',
    read: ({ sent }) => sent,
  },
  {
    name: 'ship_dropped_total',
    help: 'Events that the receiver will never get.',
    type: 'counter',
    read: ({ dropped }) => dropped,
  },
  {
    name: 'ship_failures_total',
    help: 'Attempts to send that failed, and are made again.',
    type: 'counter',
    read: ({ failures }) => failures,
  },
  {
    name: 'ship_spool_failures_total',
    help: 'Operations on the spool that failed, and are made again.',
    type: 'counter',
    read: ({ spool }) => spool.failures,
  },
  {
    name: 'ship_waiting_bytes',
    help: 'Bytes of events that wait in the spool.',
    type: 'gauge',
    read: ({ spool }) => spool.waitingBytes,
  },
  {
    name: 'ship_up',
    help: 'Whether the last attempt to send went well.',
    type: 'gauge',
    read: ({ isUp }) => (isUp ? 1 : 0),
  },
];

/** The endpoints of every provider, whichever are traced: a metadata service is no receiver of logs. */
function tracedBy(extra: readonly EndpointAddress[]): IsTraced {
  const endpoints = endpointsFor(PROVIDER_NAMES, extra);
  return (address, port) => endpoints.some((endpoint) => endpoint.address === address && endpoint.port === port);
}

/** Two targets are the same if everything about them is. */
const keyOf = (target: ShipTarget): string => JSON.stringify(target);

/** Finds what is wrong with a target now, and not at the first event. */
function checkTarget(target: ShipTarget, isTraced: IsTraced): void {
  refuseTraced(target, isTraced);
  if (target.tls !== undefined) secureOptions(target, target.tls);
  if (target.kind === 'otlp' && target.headersFile !== undefined) readHeadersFile(target.headersFile);
}

function refuseTwice(targets: readonly ShipTarget[]): void {
  const ids = new Set<string>();
  for (const { id, name } of targets) {
    if (ids.has(id)) throw usageError('IMDS_SHIP_URL', `--ship: ${name} is given twice`, 'leave one of them out');
    ids.add(id);
  }
}
