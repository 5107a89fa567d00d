import { createRequire } from 'node:module';
import { isIP } from 'node:net';

/** A field of the Elastic Common Schema, as Elastic publishes it in `@elastic/ecs`. */
export interface EcsField {
  type: string;
  /** `array` where the value is always one. */
  normalize: readonly string[];
  allowed_values?: readonly { name: string; expected_event_types?: readonly string[] }[];
  expected_values?: readonly string[];
  ignore_above?: number;
  multi_fields?: readonly { name: string; type: string }[];
}

// Not by import: its types, a literal for each of 2,600 fields, take the compiler longer than the rest of the tests.
const published = createRequire(import.meta.url)('@elastic/ecs') as {
  EcsVersion: string;
  EcsFlat: Record<string, EcsField>;
};

export const ECS_VERSION = published.EcsVersion;
export const ECS_FIELDS: ReadonlyMap<string, EcsField> = new Map(Object.entries(published.EcsFlat));

const isText = (value: unknown): boolean => typeof value === 'string';

/** Values of each of Elasticsearch's types that ECS uses. */
const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  keyword: isText,
  constant_keyword: isText,
  wildcard: isText,
  text: isText,
  match_only_text: isText,
  long: Number.isSafeInteger,
  float: Number.isFinite,
  boolean: (value) => typeof value === 'boolean',
  ip: (value) => typeof value === 'string' && isIP(value) !== 0,
  date: (value) => typeof value === 'string' && new Date(value).toISOString() === value,
};

/** `a.b.c` of nested objects, arrays being values, with what stands there. What is ours is left out. */
export function leaves(value: object, path = ''): [field: string, value: unknown][] {
  return Object.entries(value).flatMap(([name, inner]) => {
    const field = path === '' ? name : `${path}.${name}`;
    if (field === 'imds') return [];
    return isObject(inner) ? leaves(inner, field) : [[field, inner] as [string, unknown]];
  });
}

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What of an event is not as ECS has it, a line each. What stands under `imds` is ours. */
export function ecsProblems(event: object): string[] {
  const fields = new Map(leaves(event));
  const problems = [...fields].flatMap(([name, value]) => fieldProblems(name, value));
  const categories = (fields.get('event.category') ?? []) as readonly string[];
  const expected = ECS_FIELDS.get('event.category')!
    .allowed_values!.filter(({ name }) => categories.includes(name))
    .flatMap(({ expected_event_types: types }) => types ?? []);
  for (const type of (fields.get('event.type') ?? []) as readonly string[]) {
    if (!expected.includes(type)) problems.push(`event.type ${type} is of none of ${categories.join(', ')}`);
  }
  return problems;
}

function fieldProblems(name: string, value: unknown): string[] {
  const field = ECS_FIELDS.get(name);
  if (field === undefined) return [`${name} is no field of ECS`];
  if (Array.isArray(value) !== field.normalize.includes('array')) {
    return [`${name} is ${Array.isArray(value) ? 'an' : 'no'} array`];
  }
  const isOfType = TYPES[field.type];
  if (isOfType === undefined) return [`${name} is of the type ${field.type}, which no value of ours is`];
  const choices = field.allowed_values?.map((choice) => choice.name) ?? field.expected_values;
  return (Array.isArray(value) ? value : [value]).flatMap((item) => {
    if (!isOfType(item)) return [`${name} is no ${field.type}: ${JSON.stringify(item)}`];
    if (choices !== undefined && !choices.includes(item)) return [`${name} has no value ${item}`];
    return [];
  });
}
