import { basename } from 'node:path';
import { bracketed } from '../../addresses.js';
import { urlParts } from '../../imds/paths.js';
import type { Judgement } from '../../imds/types.js';
import type { ProcessInfo, ProcessSummary } from '../../process/types.js';
import type { EventContext } from '../context.js';
import { CREDENTIAL_ACCESS, type Fields, hostName, isCredentialAccess, latencyMs } from '../fields.js';
import type { ShownRequest } from '../redact.js';
import { wholeMilliseconds } from '../time.js';
import { OCSF_VERSION } from './schema.js';

/** Objects that the events are made of. Each has what its type requires, or is undefined. */

const PRODUCT_NAME = 'imds-tracer';

export const product = ({ agent }: EventContext) => ({
  name: PRODUCT_NAME,
  vendor_name: PRODUCT_NAME,
  version: agent.version,
});

export const metadata = (
  context: EventContext,
  about: { uid: string; code: string; level?: string; profiles: readonly string[] },
): Fields => ({
  version: OCSF_VERSION,
  product: product(context),
  uid: about.uid,
  event_code: about.code,
  log_name: 'imds.trace',
  log_level: about.level,
  profiles: about.profiles,
});

/** The host. What kind of machine it is, the tracer does not know. */
export const device = ({ host }: EventContext): Fields => ({ type_id: 0, hostname: host.name, uid: host.id });

/** Who asked; undefined where no process is known. */
export function actor(process: ProcessInfo | undefined): Fields | undefined {
  if (process === undefined) return undefined;
  const user = process.user && { uid: String(process.user.id), name: process.user.name };
  const [parent] = process.ancestors;
  return {
    process: {
      ...processEntity(process),
      uid: process.entityId,
      file: file(process.executable),
      user,
      parent_process: parent && processEntity(parent),
      ancestry: process.ancestors.length === 0 ? undefined : process.ancestors.map(processEntity),
      container: container(process),
    },
    user,
    // A systemd unit is the nearest that there is to what the schema calls a client service.
    app_name: process.unit,
  };
}

const processEntity = ({ pid, name, startTime, args, executable }: ProcessSummary): Fields => ({
  pid,
  name,
  created_time: startTime === undefined ? undefined : wholeMilliseconds(startTime),
  cmd_line: args?.join(' '),
  path: executable,
});

/** 8: an executable file. */
const file = (path: string | undefined): Fields | undefined =>
  path ? { name: basename(path) || path, path, type_id: 8 } : undefined;

/** A pod's uid is a UUID but for static pods, whose uid is a hash: that stands in `unmapped.imds.pod_uid` only. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

function container({ container, podUid }: ProcessInfo): Fields | undefined {
  if (container === undefined) return undefined;
  return {
    uid: container.id,
    runtime: container.runtime,
    pod_uuid: podUid !== undefined && UUID.test(podUid) ? podUid : undefined,
  };
}

export const endpoint = ({ address, port }: { address: string; port: number }): Fields => ({ ip: address, port });

/** 2: outbound. */
export const connection = ({ family, cookie }: ShownRequest): Fields => ({
  direction_id: 2,
  direction: 'Outbound',
  protocol_name: 'tcp',
  protocol_num: 6,
  protocol_ver_id: family,
  uid: cookie === 0n ? undefined : String(cookie),
});

/** Methods that the schema knows, with the activity that each is. Case matters (RFC 9110 section 9.1). */
const METHODS: ReadonlyMap<string, readonly [id: number, name: string]> = new Map([
  ['CONNECT', [1, 'Connect']],
  ['DELETE', [2, 'Delete']],
  ['GET', [3, 'Get']],
  ['HEAD', [4, 'Head']],
  ['OPTIONS', [5, 'Options']],
  ['POST', [6, 'Post']],
  ['PUT', [7, 'Put']],
  ['TRACE', [8, 'Trace']],
  ['PATCH', [9, 'Patch']],
]);

/** Number and name of the activity that a method is; undefined where the schema has no name for it. */
export const methodActivity = (method: string): readonly [id: number, name: string] | undefined => METHODS.get(method);

/** No headers but the two that have attributes of their own: a header that is not here can't leak. */
export function httpRequest({ request, endpoint }: ShownRequest): Fields | undefined {
  if (request === undefined) return undefined;
  const { path, query } = urlParts(request.target);
  const origin = `http://${bracketed(endpoint.address)}${endpoint.port === 80 ? '' : `:${endpoint.port}`}`;
  return {
    http_method: METHODS.has(request.method) ? request.method : undefined,
    version: request.version,
    user_agent: request.userAgent,
    url: {
      // With the address that was asked: Host is whatever the client says.
      url_string: request.target.startsWith('/') ? `${origin}${request.target}` : request.target,
      scheme: 'http',
      hostname: request.host ? hostName(request.host) : undefined,
      port: endpoint.port,
      path,
      query_string: query,
    },
  };
}

/** The schema's latency is in whole milliseconds; the exact one is in `unmapped.imds`. */
export function httpResponse(event: ShownRequest): Fields | undefined {
  const { response } = event;
  if (response === undefined) return undefined;
  return { code: response.status, latency: latencyMs(event, 1) };
}

const { tactic, technique, subTechnique } = CREDENTIAL_ACCESS;
export const CREDENTIAL_ATTACKS: readonly Fields[] = [
  {
    tactic: { uid: tactic.id, name: tactic.name },
    technique: { uid: technique.id, name: technique.name },
    sub_technique: { uid: subTechnique.id, name: subTechnique.name, src_url: subTechnique.url },
  },
];

export const attacks = (judgement: Judgement): readonly Fields[] | undefined =>
  isCredentialAccess(judgement) ? CREDENTIAL_ATTACKS : undefined;
