/**
 * What OCSF 1.8.0 (https://schema.ocsf.io/1.8.0/) demands of the classes, profiles and objects that the tracer emits: the
 * attributes that it uses and all that are required, with their types and values. An attribute that is not here is one
 * that the schema does not have, as far as this table goes: whoever emits a new one looks it up there and adds it.
 */

/** `!` required, `[]` an array; a name of `OBJECTS`, of `TYPES`, or of `ENUMS`. */
type Attributes = Readonly<Record<string, string>>;

export interface ObjectType {
  attributes: Attributes;
  atLeastOne?: readonly string[];
  /** Attributes that it has only with a profile. */
  ofProfile?: Readonly<Record<string, string>>;
}

export interface ClassType extends ObjectType {
  name: string;
  category: readonly [uid: number, name: string];
  activities: Readonly<Record<number, string>>;
  profiles: readonly string[];
}

const isInteger = (value: unknown): boolean => Number.isSafeInteger(value);
const isText = (value: unknown): boolean => typeof value === 'string';
const matches = (pattern: RegExp) => (value: unknown) => typeof value === 'string' && pattern.test(value);

export const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: isText,
  integer: isInteger,
  /** Epoch milliseconds. */
  timestamp: isInteger,
  boolean: (value) => typeof value === 'boolean',
  port: (value) => isInteger(value) && (value as number) >= 0 && (value as number) <= 65_535,
  ip: matches(/^(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f:.]*:[0-9a-f:.]*)$/i),
  uuid: matches(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i),
  /** Anything. */
  object: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  json: (value) => value !== undefined,
};

/** Values with what they mean: where the sibling attribute (the name without `_id`) is there, it says this word. */
export const ENUMS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  severity_id: {
    0: 'Unknown',
    1: 'Informational',
    2: 'Low',
    3: 'Medium',
    4: 'High',
    5: 'Critical',
    6: 'Fatal',
    99: 'Other',
  },
  status_id: { 0: 'Unknown', 1: 'Success', 2: 'Failure', 99: 'Other' },
  finding_status_id: {
    0: 'Unknown',
    1: 'New',
    2: 'In Progress',
    3: 'Suppressed',
    4: 'Resolved',
    5: 'Archived',
    6: 'Deleted',
    99: 'Other',
  },
  compliance_status_id: { 0: 'Unknown', 1: 'Pass', 2: 'Warning', 3: 'Fail', 99: 'Other' },
  action_id: { 0: 'Unknown', 1: 'Allowed', 2: 'Denied', 3: 'Observed', 4: 'Modified', 99: 'Other' },
  disposition_id: {
    0: 'Unknown',
    1: 'Allowed',
    2: 'Blocked',
    8: 'Approved',
    15: 'Detected',
    17: 'Logged',
    19: 'Alert',
    25: 'Rejected',
    26: 'Unauthorized',
    99: 'Other',
  },
  direction_id: { 0: 'Unknown', 1: 'Inbound', 2: 'Outbound', 3: 'Lateral', 4: 'Local', 99: 'Other' },
  protocol_ver_id: { 0: 'Unknown', 4: 'Internet Protocol version 4 (IPv4)', 6: 'Internet Protocol version 6 (IPv6)' },
  device_type_id: { 0: 'Unknown', 1: 'Server', 2: 'Desktop', 3: 'Laptop', 6: 'Virtual', 99: 'Other' },
  file_type_id: { 0: 'Unknown', 1: 'Regular File', 2: 'Folder', 8: 'Executable File', 99: 'Other' },
  analytic_type_id: { 0: 'Unknown', 1: 'Rule', 2: 'Behavioral', 3: 'Statistical', 99: 'Other' },
  role_id: { 0: 'Unknown', 1: 'Target', 2: 'Actor', 3: 'Affected', 4: 'Related', 99: 'Other' },
  http_method: {
    CONNECT: 'Connect',
    DELETE: 'Delete',
    GET: 'Get',
    HEAD: 'Head',
    OPTIONS: 'Options',
    PATCH: 'Patch',
    POST: 'Post',
    PUT: 'Put',
    TRACE: 'Trace',
  },
};

const ENTITY = ['name', 'uid'];

export const OBJECTS: Readonly<Record<string, ObjectType>> = {
  metadata: {
    attributes: {
      'version!': 'string',
      'product!': 'product',
      uid: 'string',
      event_code: 'string',
      log_name: 'string',
      log_level: 'string',
      profiles: 'string[]',
    },
  },
  product: {
    attributes: { name: 'string', uid: 'string', vendor_name: 'string', version: 'string' },
    atLeastOne: ENTITY,
  },
  device: {
    attributes: { 'type_id!': 'device_type_id', hostname: 'string', uid: 'string' },
    atLeastOne: ['ip', 'uid', 'name', 'hostname', 'instance_uid', 'interface_uid', 'interface_name'],
  },
  cloud: { attributes: { 'provider!': 'string' } },
  actor: {
    attributes: { process: 'process', user: 'user', app_name: 'string' },
    atLeastOne: ['process', 'user', 'invoked_by', 'session', 'app_name', 'app_uid'],
  },
  process: {
    attributes: {
      pid: 'integer',
      uid: 'string',
      name: 'string',
      cmd_line: 'string',
      path: 'string',
      created_time: 'timestamp',
      file: 'file',
      user: 'user',
      parent_process: 'process',
      ancestry: 'process_entity[]',
      container: 'container',
    },
    ofProfile: { container: 'container' },
    atLeastOne: ['pid', 'uid', 'cpid'],
  },
  process_entity: {
    attributes: {
      pid: 'integer',
      uid: 'string',
      name: 'string',
      cmd_line: 'string',
      path: 'string',
      created_time: 'timestamp',
    },
    atLeastOne: ['cmd_line', 'name', 'path', 'pid', 'uid', 'cpid'],
  },
  user: { attributes: { name: 'string', uid: 'string' }, atLeastOne: ['account', 'name', 'uid'] },
  file: { attributes: { 'name!': 'string', 'type_id!': 'file_type_id', path: 'string' } },
  container: { attributes: { uid: 'string', name: 'string', runtime: 'string', pod_uuid: 'uuid' }, atLeastOne: ENTITY },
  network_endpoint: {
    attributes: { ip: 'ip', port: 'port' },
    atLeastOne: [
      'ip',
      'uid',
      'name',
      'hostname',
      'svc_name',
      'instance_uid',
      'interface_uid',
      'interface_name',
      'domain',
    ],
  },
  network_connection_info: {
    attributes: {
      'direction_id!': 'direction_id',
      direction: 'string',
      protocol_name: 'string',
      protocol_num: 'integer',
      protocol_ver_id: 'protocol_ver_id',
      uid: 'string',
    },
  },
  http_request: {
    attributes: { http_method: 'http_method', version: 'string', user_agent: 'string', url: 'url' },
  },
  url: {
    attributes: {
      url_string: 'string',
      scheme: 'string',
      hostname: 'string',
      port: 'port',
      path: 'string',
      query_string: 'string',
    },
    atLeastOne: ['url_string', 'path'],
  },
  http_response: { attributes: { 'code!': 'integer', latency: 'integer' } },
  attack: {
    attributes: { tactic: 'technique', technique: 'technique', sub_technique: 'technique' },
    atLeastOne: ['tactic', 'technique', 'sub_technique'],
  },
  /** Tactic, technique and sub-technique are alike. */
  technique: { attributes: { uid: 'string', name: 'string', src_url: 'string' }, atLeastOne: ENTITY },
  finding_info: {
    attributes: {
      'uid!': 'string',
      title: 'string',
      desc: 'string',
      created_time: 'timestamp',
      first_seen_time: 'timestamp',
      last_seen_time: 'timestamp',
      product: 'product',
      analytic: 'analytic',
      attacks: 'attack[]',
      types: 'string[]',
    },
  },
  analytic: {
    attributes: { 'type_id!': 'analytic_type_id', type: 'string', uid: 'string', name: 'string' },
    atLeastOne: ENTITY,
  },
  compliance: {
    attributes: {
      control: 'string',
      standards: 'string[]',
      status_id: 'compliance_status_id',
      status: 'string',
      status_code: 'string',
      status_details: 'string[]',
      checks: 'check[]',
    },
  },
  check: { attributes: { uid: 'string', name: 'string', status_id: 'compliance_status_id', status: 'string' } },
  resource_details: {
    attributes: {
      uid: 'string',
      name: 'string',
      hostname: 'string',
      type: 'string',
      role_id: 'role_id',
      role: 'string',
    },
    atLeastOne: ENTITY,
  },
  remediation: { attributes: { 'desc!': 'string', references: 'string[]' } },
  evidences: {
    attributes: { process: 'process', actor: 'actor', container: 'container', data: 'json' },
    atLeastOne: ['actor', 'process', 'data', 'device', 'file', 'url', 'user'],
  },
};

/** Attributes of every event. */
const BASE: Attributes = {
  'time!': 'timestamp',
  'class_uid!': 'integer',
  class_name: 'string',
  'category_uid!': 'integer',
  category_name: 'string',
  'activity_id!': 'integer',
  activity_name: 'string',
  'type_uid!': 'integer',
  type_name: 'string',
  'severity_id!': 'severity_id',
  severity: 'string',
  status_id: 'status_id',
  status: 'string',
  status_code: 'string',
  status_detail: 'string',
  message: 'string',
  'metadata!': 'metadata',
  count: 'integer',
  start_time: 'timestamp',
  end_time: 'timestamp',
  unmapped: 'object',
};

/** Attributes that an event has only where `metadata.profiles` names the profile. */
export const PROFILES: Readonly<Record<string, Attributes>> = {
  host: { actor: 'actor', device: 'device' },
  cloud: { 'cloud!': 'cloud' },
  security_control: {
    action_id: 'action_id',
    action: 'string',
    disposition_id: 'disposition_id',
    disposition: 'string',
    is_alert: 'boolean',
    attacks: 'attack[]',
  },
  /** Adds to objects, not to events. */
  container: {},
};

const NETWORK: Attributes = {
  ...BASE,
  src_endpoint: 'network_endpoint',
  dst_endpoint: 'network_endpoint',
  connection_info: 'network_connection_info',
};
const FINDING: Attributes = {
  ...BASE,
  status_id: 'finding_status_id',
  'finding_info!': 'finding_info',
  resources: 'resource_details[]',
  remediation: 'remediation',
  device: 'device',
};
const ANY_ACTIVITY = { 0: 'Unknown', 99: 'Other' };
const FINDING_ACTIVITIES = { ...ANY_ACTIVITY, 1: 'Create', 2: 'Update', 3: 'Close' };
const BASE_PROFILES = Object.keys(PROFILES);

export const CLASSES: Readonly<Record<number, ClassType>> = {
  0: {
    name: 'Base Event',
    category: [0, 'Uncategorized'],
    activities: ANY_ACTIVITY,
    attributes: BASE,
    profiles: BASE_PROFILES,
  },
  2003: {
    name: 'Compliance Finding',
    category: [2, 'Findings'],
    activities: FINDING_ACTIVITIES,
    attributes: { ...FINDING, 'compliance!': 'compliance' },
    profiles: BASE_PROFILES,
  },
  2004: {
    name: 'Detection Finding',
    category: [2, 'Findings'],
    activities: FINDING_ACTIVITIES,
    attributes: { ...FINDING, evidences: 'evidences[]' },
    profiles: BASE_PROFILES,
  },
  4001: {
    name: 'Network Activity',
    category: [4, 'Network Activity'],
    activities: {
      ...ANY_ACTIVITY,
      1: 'Open',
      2: 'Close',
      3: 'Reset',
      4: 'Fail',
      5: 'Refuse',
      6: 'Traffic',
      7: 'Listen',
    },
    attributes: NETWORK,
    atLeastOne: ['dst_endpoint', 'src_endpoint'],
    profiles: BASE_PROFILES,
  },
  4002: {
    name: 'HTTP Activity',
    category: [4, 'Network Activity'],
    activities: {
      ...ANY_ACTIVITY,
      1: 'Connect',
      2: 'Delete',
      3: 'Get',
      4: 'Head',
      5: 'Options',
      6: 'Post',
      7: 'Put',
      8: 'Trace',
      9: 'Patch',
    },
    attributes: { ...NETWORK, http_request: 'http_request', http_response: 'http_response' },
    atLeastOne: ['http_request', 'http_response'],
    profiles: BASE_PROFILES,
  },
  6002: {
    name: 'Application Lifecycle',
    category: [6, 'Application Activity'],
    activities: {
      ...ANY_ACTIVITY,
      1: 'Install',
      2: 'Remove',
      3: 'Start',
      4: 'Stop',
      5: 'Restart',
      6: 'Enable',
      7: 'Disable',
      8: 'Update',
    },
    attributes: { ...BASE, 'app!': 'product' },
    profiles: BASE_PROFILES,
  },
  6008: {
    name: 'Application Error',
    category: [6, 'Application Activity'],
    activities: { ...ANY_ACTIVITY, 1: 'General Error', 2: 'Translation Error' },
    attributes: BASE,
    profiles: BASE_PROFILES,
  },
};
