/**
 * An event of the tracer in the schema of OCSF (`--format ocsf`, output/ocsf.ts) with its members where ECS has them; anything
 * else as it is. Nothing in it is trusted: what reads it checks each type. Arguments are one text in OCSF: where one of them held a
 * space, they are cut at the wrong place, which `args_joined` says.
 */
export function asEcs(json: unknown): unknown {
  const event = record(json);
  const about = record(event['metadata']);
  if (about['log_name'] !== 'imds.trace') return json;
  const { ancestors: _, ...imds } = record(record(event['unmapped'])['imds']);
  const device = record(event['device']);
  const actor = record(event['actor']);
  const request = record(event['http_request']);
  const process = actor['process'] === undefined ? undefined : record(actor['process']);
  const container = record(process?.['container']);
  const user = record(process?.['user']);
  const ancestry = Array.isArray(process?.['ancestry']) ? process['ancestry'].map(summary) : [];
  return {
    '@timestamp': isoTime(event['time']),
    host: { name: device['hostname'], id: device['uid'] },
    event: { action: about['event_code'], id: about['uid'] },
    destination: event['dst_endpoint'],
    http: { request: { method: imds['method'] }, response: { status_code: record(event['http_response'])['code'] } },
    url: { path: record(request['url'])['path'] },
    user_agent: { original: request['user_agent'] },
    process: process && {
      ...summary(process),
      args_joined: true,
      start: isoTime(process['created_time']),
      entity_id: process['uid'],
      user: { id: user['uid'], name: user['name'] },
      parent: ancestry[0],
    },
    service: { name: actor['app_name'] },
    container: { id: container['uid'], runtime: container['runtime'] },
    orchestrator: { resource: { id: imds['pod_uid'] } },
    // Of those beyond the parent ECS has no executable.
    imds: { ...imds, ancestors: ancestry.map(({ executable: __, ...ancestor }) => ancestor) },
  };
}

type Fields = Readonly<Record<string, unknown>>;

function summary(value: unknown): Fields {
  const { pid, name, path, cmd_line: line } = record(value);
  return { pid, name, executable: path, args: typeof line === 'string' ? line.split(' ') : undefined };
}

const record = (value: unknown): Fields =>
  value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Fields) : {};

/** What Date takes (ECMA-262, time values). */
const isoTime = (value: unknown): string | undefined =>
  typeof value === 'number' && Math.abs(value) <= 8.64e15 ? new Date(value).toISOString() : undefined;
