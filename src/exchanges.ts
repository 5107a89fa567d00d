import type { ExchangeRecord, HeadRecord } from './capture/types.js';
import type { Judge } from './imds/judge.js';
import type { Endpoint, Judgement } from './imds/types.js';
import type { RequestEvent } from './output/types.js';
import type { Attribution } from './process/types.js';
import { findAccessKeyId } from './wire/access-key-id.js';
import { type SharedHead, sharedHead } from './wire/exchanges.js';
import type { ResponseHead } from './wire/types.js';

/** What exchanges have in common: their requests differ in query, times and client, their responses in nothing that is shown. */
export interface Alike {
  readonly head: SharedHead;
  readonly endpoint: Endpoint;
  readonly status: number;
  readonly attribution: Attribution;
  readonly judgement: Judgement;
}

interface JudgedHead {
  readonly head: SharedHead;
  readonly alikes: Alike[];
}

/** Of one head: endpoints and statuses that were seen together. */
const MAX_ALIKES = 8;
const NO_HEADERS: ResponseHead['headers'] = [];

/** Judges exchanges: all that are alike at once, where the same is known of whoever made them. */
export class Exchanges {
  /**
   * By their numbers: those of a stretch of the file, until those of the next take their numbers. They hold tokens as they
   * are on the wire.
   */
  readonly #heads: (JudgedHead | undefined)[] = [];

  constructor(private readonly judge: Judge) {}

  keep(record: HeadRecord): void {
    const head = sharedHead(record);
    this.#heads[record.number] = head === undefined ? undefined : { head, alikes: [] };
  }

  /** Undefined where the head is not known. `attribution`: the same object where the same is known. */
  alike({ head: number, status }: ExchangeRecord, endpoint: Endpoint, attribution: Attribution): Alike | undefined {
    const known = this.#heads[number];
    if (known === undefined) return undefined;
    const { head, alikes } = known;
    for (const alike of alikes) {
      if (alike.status === status && alike.endpoint === endpoint && alike.attribution === attribution) return alike;
    }
    const request = { ...head, time: 0, target: head.path };
    const entityId = attribution.process?.entityId;
    const pending = this.judge.begin(request, endpoint, entityId);
    const judgement = this.judge.finish(pending, { time: 0, status, version: '1.1', headers: NO_HEADERS }, entityId);
    const alike = { head, endpoint, status, attribution, judgement };
    // What a process did before is judged as well.
    if (entityId === undefined && alikes.length < MAX_ALIKES) alikes.push(alike);
    return alike;
  }

  forget(): void {
    this.#heads.length = 0;
  }
}

/** The event that the packets of the exchange would have led to. */
export function eventOfExchange(alike: Alike, exchange: ExchangeRecord): RequestEvent {
  const { head, endpoint, status, attribution, judgement } = alike;
  const { batch, queryStart, bodyStart, bodyEnd, requestTime } = exchange;
  const query = bodyStart > queryStart ? batch.toString('latin1', queryStart, bodyStart) : '';
  const response: ResponseHead = { time: exchange.time, status, version: exchange.version, headers: NO_HEADERS };
  if (status === 200) {
    const accessKeyId = findAccessKeyId(batch, bodyStart, bodyEnd);
    if (accessKeyId !== undefined) response.accessKeyId = accessKeyId;
  }
  return {
    kind: 'request',
    time: requestTime,
    client: { address: exchange.localAddress, port: exchange.localPort },
    endpoint: { address: endpoint.address, port: endpoint.port },
    family: exchange.family,
    cookie: exchange.cookie,
    attribution,
    judgement,
    request: {
      time: requestTime,
      method: head.method,
      target: head.path + query,
      version: head.version,
      headers: head.headers,
      headBytes: head.headBytes + query.length,
      recurring: true,
    },
    response,
  };
}
