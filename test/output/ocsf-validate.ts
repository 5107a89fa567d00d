import { CLASSES, ENUMS, OBJECTS, type ObjectType, PROFILES, TYPES } from './ocsf-schema.js';

type Json = Readonly<Record<string, unknown>>;

/** What is wrong with an OCSF event by the table in ocsf-schema.ts, a line each. */
export function ocsfProblems(event: Json): string[] {
  const type = CLASSES[event['class_uid'] as number];
  if (type === undefined) return [`class_uid ${event['class_uid']} is none of those that are emitted`];
  const problems: string[] = [];
  const profiles = ((event['metadata'] as Json | undefined)?.['profiles'] ?? []) as string[];
  for (const profile of profiles) if (!type.profiles.includes(profile)) problems.push(`profile ${profile} is unknown`);
  const attributes = Object.assign({}, ...profiles.map((profile) => PROFILES[profile]), type.attributes);
  problems.push(...objectProblems(event, { ...type, attributes }, type.name, profiles));
  const activity = event['activity_id'] as number;
  const word = type.activities[activity];
  const expected: Json = {
    class_name: type.name,
    category_uid: type.category[0],
    category_name: type.category[1],
    type_uid: (event['class_uid'] as number) * 100 + activity,
    // Of an activity that the class has no name for, the name is the source's.
    activity_name: activity === 99 ? event['activity_name'] : word,
    type_name: `${type.name}: ${event['activity_name']}`,
  };
  if (word === undefined) problems.push(`activity_id ${activity} is none of ${type.name}`);
  for (const [name, value] of Object.entries(expected)) {
    if (event[name] !== value) problems.push(`${name} is ${event[name]}, not ${value}`);
  }
  return problems;
}

function objectProblems(object: Json, type: ObjectType, path: string, profiles: readonly string[]): string[] {
  const problems: string[] = [];
  const types = new Map(Object.entries(type.attributes).map(([name, kind]) => [name.replace('!', ''), kind]));
  for (const name of Object.keys(type.attributes)) {
    if (name.endsWith('!') && !(name.slice(0, -1) in object)) problems.push(`${path}.${name.slice(0, -1)} is missing`);
  }
  if (type.atLeastOne !== undefined && !type.atLeastOne.some((name) => name in object)) {
    problems.push(`${path} has none of ${type.atLeastOne.join(', ')}`);
  }
  for (const [name, value] of Object.entries(object)) {
    const kind = types.get(name);
    const at = `${path}.${name}`;
    const profile = type.ofProfile?.[name];
    if (kind === undefined) problems.push(`${at} is no attribute`);
    else if (profile !== undefined && !profiles.includes(profile)) problems.push(`${at} without its profile`);
    else if (!kind.endsWith('[]')) problems.push(...valueProblems(value, kind, at, object, name, profiles));
    else if (!Array.isArray(value)) problems.push(`${at} is no array`);
    else {
      for (const item of value) problems.push(...valueProblems(item, kind.slice(0, -2), at, object, name, profiles));
    }
  }
  return problems;
}

function valueProblems(
  value: unknown,
  kind: string,
  at: string,
  parent: Json,
  name: string,
  profiles: readonly string[],
): string[] {
  const test = TYPES[kind];
  if (test !== undefined) return test(value) ? [] : [`${at} is no ${kind}: ${JSON.stringify(value)}`];
  const words = ENUMS[kind];
  if (words === undefined) {
    if (!TYPES['object']!(value)) return [`${at} is no object`];
    return objectProblems(value as Json, OBJECTS[kind]!, at, profiles);
  }
  const word = words[value as string];
  const isOfType = kind === 'http_method' ? typeof value === 'string' : Number.isSafeInteger(value);
  if (word === undefined || !isOfType) return [`${at} has no value ${JSON.stringify(value)}`];
  const sibling = name.endsWith('_id') ? parent[name.slice(0, -3)] : undefined;
  return sibling === undefined || value === 99 || sibling === word
    ? []
    : [`${at} ${value} means ${word}, not ${sibling}`];
}
