/** Lines of `imds-events.ndjson` as a tracer writes them, as far as a report needs them. */

export interface EventFields {
  host?: string;
  /** Of the tracer's run. */
  run?: string;
  /** Seconds since 2026-11-21T00:00:00Z. */
  at?: number;
}

let count = 0;

const event = (action: string, { host = 'web-1', run = 'r1', at = 0 }: EventFields, rest: object): string =>
  JSON.stringify({
    '@timestamp': new Date(Date.UTC(2026, 10, 21) + at * 1000).toISOString(),
    host: { name: host, id: `id-${host}` },
    event: { action, id: `${run}-${(count++).toString(36)}` },
    ...rest,
  });

export const started = (fields: EventFields = {}, source = 'ebpf'): string =>
  event('tracer-started', fields, { imds: { source, source_detail: source, providers: ['alibaba'] } });

export const reloaded = (fields: EventFields, providers: readonly string[]): string =>
  event('tracer-reloaded', fields, { imds: { source: 'ebpf', providers } });

export const loss = (fields: EventFields, lost: Record<string, number>): string =>
  event('capture-loss', fields, { imds: { lost } });

export const stats = (fields: EventFields, counters: Record<string, number>, action = 'tracer-stats'): string =>
  event(action, fields, { imds: { stats: { ring_dropped: 0, ...counters } } });

export const stopped = (fields: EventFields, counters: Record<string, number> = {}): string =>
  stats(fields, counters, 'tracer-stopped');

export interface RequestFields extends EventFields {
  verdict?: string;
  status?: number | undefined;
  command?: string;
  unit?: string;
  path?: string;
  attribution?: string;
  pid?: number;
}

export function request(fields: RequestFields = {}): string {
  const { verdict = 'normal_mode', command = 'curl', unit = 'backup.service', attribution = 'connect' } = fields;
  const { path = '/latest/meta-data/', pid = 100, host = 'web-1' } = fields;
  const status = 'status' in fields ? fields.status : 200;
  return event('imds-request', fields, {
    destination: { ip: '100.100.100.200', port: 80 },
    http: { request: { method: 'GET' }, ...(status !== undefined && { response: { status_code: status } }) },
    url: { path },
    ...(attribution !== 'none' && {
      process: {
        pid,
        name: command,
        executable: `/usr/bin/${command}`,
        args: [command, `http://100.100.100.200${path}`],
        entity_id: `${host}-${pid}`,
        user: { id: '0', name: 'root' },
      },
      service: { name: unit },
    }),
    imds: { provider: 'alibaba', verdict, severity: 'low', reasons: [], attribution },
  });
}
