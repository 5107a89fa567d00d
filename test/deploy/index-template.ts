import type { EcsField } from '../output/ecs-fields.js';

/** A mapping of Elasticsearch. */
export interface Mapping {
  type?: string;
  properties?: Record<string, Mapping>;
  [setting: string]: unknown;
}

const KEYWORD: Mapping = { type: 'keyword', ignore_above: 1024 };
const LONG: Mapping = { type: 'long' };
/** Counters come and go with versions: each that appears is a number. */
const COUNTERS: Mapping = { type: 'object', dynamic: true };

/** What ECS has no fields for. */
const OWN: Readonly<Record<string, Mapping>> = {
  'imds.provider': KEYWORD,
  'imds.mode': KEYWORD,
  'imds.verdict': KEYWORD,
  'imds.severity': KEYWORD,
  'imds.reasons': KEYWORD,
  'imds.token_present': { type: 'boolean' },
  'imds.ttl_seconds': LONG,
  'imds.attribution': KEYWORD,
  'imds.attribution_detail': KEYWORD,
  'imds.ancestors.pid': LONG,
  'imds.ancestors.name': KEYWORD,
  'imds.ancestors.args': KEYWORD,
  'imds.netns': LONG,
  'imds.socket_cookie': KEYWORD,
  'imds.latency_ms': { type: 'double' },
  'imds.unparsed.reason': KEYWORD,
  'imds.unparsed.bytes': LONG,
  'imds.credential.access_key_id': KEYWORD,
  'imds.source': KEYWORD,
  'imds.source_detail': KEYWORD,
  'imds.providers': KEYWORD,
  'imds.endpoints.ip': { type: 'ip' },
  'imds.endpoints.port': LONG,
  'imds.changed': KEYWORD,
  'imds.kept': KEYWORD,
  'imds.stats': COUNTERS,
  'imds.lost': COUNTERS,
};

/** Settings of a published field that belong into its mapping. */
function mappingOf({ type, ignore_above, multi_fields }: EcsField): Mapping {
  return {
    type,
    ...(ignore_above === undefined ? {} : { ignore_above }),
    ...(multi_fields === undefined
      ? {}
      : { fields: Object.fromEntries(multi_fields.map((field) => [field.name, { type: field.type }])) }),
  };
}

/**
 * The template of the data stream, for the given fields of ECS and ours: `deploy/elasticsearch/index-template.json`. What is no
 * field of it is kept, but not indexed, so that no event can add fields without bound.
 */
export function indexTemplate(ecsFields: ReadonlyMap<string, EcsField>): object {
  const properties: Record<string, Mapping> = {};
  const put = (path: string, mapping: Mapping): void => {
    const names = path.split('.');
    const last = names.pop()!;
    let at = properties;
    for (const name of names) {
      at[name] ??= { properties: {} };
      at = at[name].properties!;
    }
    at[last] = mapping;
  };
  for (const [name, field] of [...ecsFields].sort(([a], [b]) => (a < b ? -1 : 1))) put(name, mappingOf(field));
  put('data_stream.type', { type: 'constant_keyword', value: 'logs' });
  put('data_stream.dataset', { type: 'constant_keyword', value: 'imds.trace' });
  put('data_stream.namespace', { type: 'constant_keyword' });
  for (const [name, mapping] of Object.entries(OWN)) put(name, mapping);
  return {
    index_patterns: ['logs-imds.trace-*'],
    data_stream: {},
    // Above that of the template for all logs-*-*, which is 100.
    priority: 200,
    template: {
      settings: { index: { lifecycle: { name: 'imds-trace' }, codec: 'best_compression' } },
      mappings: {
        dynamic: false,
        dynamic_templates: ['imds.stats.*', 'imds.lost.*'].map((path) => ({
          [path]: { path_match: path, match_mapping_type: 'long', mapping: { type: 'long' } },
        })),
        properties,
      },
    },
    _meta: { description: 'Events of imds-tracer' },
  };
}
