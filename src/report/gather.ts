import { Clients, type ClientsJson } from '../audit/clients.js';
import { fromEcs } from '../audit/observation.js';
import { type HostJson, Hosts } from './hosts.js';
import type { LineReader } from './lines.js';

/** Requests outside of it are left out. Epoch milliseconds. */
export interface Period {
  since?: number;
  /** Exclusive. */
  until?: number;
}

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
  readonly hosts = new Hosts();
  /** Lines that are events. */
  lines = 0;
  /** Lines that are none. */
  unreadable = 0;
  requests = 0;
  /** That were traced. */
  readonly providers = new Set<string>();

  constructor(private readonly period: Period = {}) {}

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
      json = JSON.parse(text);
    } catch {
      return false;
    }
    const observation = fromEcs(json);
    if (observation === undefined) return false;
    this.lines++;
    const { since = Number.NEGATIVE_INFINITY, until = Number.POSITIVE_INFINITY } = this.period;
    if (observation.time < since || observation.time >= until) return true;
    this.hosts.add(observation, runOf(json));
    if (observation.kind === 'started') {
      for (const provider of observation.providers) this.providers.add(provider);
    } else if (observation.kind === 'request') {
      this.requests++;
      this.clients.add(observation);
    }
    return true;
  }
}

/** The part of an event's id that all events of a tracer's run share; the rest is a count. */
function runOf(json: unknown): string {
  const id = (json as { event?: { id?: unknown } }).event?.id;
  if (typeof id !== 'string' || id.length > 100) return '';
  return id.slice(0, Math.max(id.lastIndexOf('-'), 0));
}
