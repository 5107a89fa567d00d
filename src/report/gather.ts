import { Clients, type ClientsJson } from '../audit/clients.js';
import { fromEcs } from '../audit/observation.js';
import { type EventNumber, type HostJson, Hosts, type Period } from './hosts.js';
import type { LineReader } from './lines.js';
import { asEcs } from './ocsf.js';

export interface GatheredJson {
  clients: ClientsJson;
  hosts: HostJson[];
  lines: number;
  unreadable: number;
  requests: number;
  providers: string[];
}

/** What event logs come to: sums only, however long they are. */
export class Gathered {
  readonly clients = new Clients({ containersTogether: true });
  readonly hosts: Hosts;
  /** Lines that are events. */
  lines = 0;
  /** Lines that are none. */
  unreadable = 0;
  requests = 0;
  /** That were traced. */
  readonly providers = new Set<string>();

  constructor(private readonly period: Period = {}) {
    this.hosts = new Hosts(period);
  }

  /** A reader of a log; `progress` as LineReader has it. */
  reader(progress: LineReader['progress']): LineReader {
    return {
      line: (text) => {
        if (text.length > 0 && !this.#take(text)) this.unreadable++;
      },
      tooLong: () => {
        this.unreadable++;
      },
      // Half a line is one that is being written, or that a crash has cut: no event was completed.
      rest: (text) => {
        this.#take(text);
      },
      progress,
    };
  }

  merge(json: GatheredJson): void {
    this.clients.merge(json.clients);
    this.hosts.merge(json.hosts);
    this.lines += json.lines;
    this.unreadable += json.unreadable;
    this.requests += json.requests;
    for (const provider of json.providers) this.providers.add(provider);
  }

  toJSON(): GatheredJson {
    return {
      clients: this.clients.toJSON(),
      hosts: this.hosts.toJSON(),
      lines: this.lines,
      unreadable: this.unreadable,
      requests: this.requests,
      providers: [...this.providers],
    };
  }

  /** False for what is no event of the tracer. */
  #take(text: string): boolean {
    let json: unknown;
    try {
      json = asEcs(JSON.parse(text));
    } catch {
      return false;
    }
    const observation = fromEcs(json);
    if (observation === undefined) return false;
    this.lines++;
    const { since = Number.NEGATIVE_INFINITY, until = Number.POSITIVE_INFINITY } = this.period;
    const isWithin = observation.time >= since && observation.time < until;
    let client: string | undefined;
    if (observation.kind === 'started') {
      for (const provider of observation.providers) this.providers.add(provider);
    } else if (observation.kind === 'request' && isWithin) {
      this.requests++;
      client = this.clients.add(observation)?.client.id;
    }
    // What is outside of the period tells of the run that lies in it: its source, its counters.
    this.hosts.add(observation, numberOf(json), client);
    return true;
  }
}

/** The ids of a tracer's run have one beginning, and a number in base 36 that counts its events. */
function numberOf(json: unknown): EventNumber {
  const id = (json as { event?: { id?: unknown } }).event?.id;
  if (typeof id !== 'string' || id.length > 100) return { run: '', number: undefined };
  const end = Math.max(id.lastIndexOf('-'), 0);
  const digits = id.slice(end + 1);
  const number = /^[0-9a-z]{1,10}$/.test(digits) ? Number.parseInt(digits, 36) : undefined;
  return { run: id.slice(0, end), number };
}
