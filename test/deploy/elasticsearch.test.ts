import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createEventContext } from '../../src/output/context.js';
import { formatEcs } from '../../src/output/ecs.js';
import type { ShownEvent } from '../../src/output/redact.js';
import { packageRoot } from '../../src/package-root.js';
import { ECS_FIELDS, leaves } from '../output/ecs-fields.js';
import { EVERY_EVENT, HOSTILE_EVENTS } from '../output/every-event.js';
import { indexTemplate, type Mapping } from './index-template.js';

const FOLDER = join(packageRoot(), 'deploy/elasticsearch');
const context = createEventContext({ hostName: 'web-1', hostId: 'abc', version: '0.1.0' });
const ecs = (event: ShownEvent): object => JSON.parse(JSON.stringify(formatEcs(event, context)));

/** The fields of ECS that there are in any event. */
const emitted = new Set(EVERY_EVENT.flatMap(([, event]) => leaves(ecs(event)).map(([name]) => name)));
const template = `${JSON.stringify(indexTemplate(new Map([...emitted].map((name) => [name, ECS_FIELDS.get(name)!]))), null, 2)}\n`;

/** Values that Elasticsearch takes for a type; the others of ECS's are texts. */
const TAKES: Readonly<Record<string, (value: unknown) => boolean>> = {
  long: Number.isSafeInteger,
  double: (value) => typeof value === 'number',
  boolean: (value) => typeof value === 'boolean',
  ip: (value) => typeof value === 'string' && isIP(value) !== 0,
  date: (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value)),
};
const isText = (value: unknown): boolean => typeof value === 'string';

/** What of a value has no mapping, or one of another type. */
function unmapped(value: unknown, mapping: Mapping | undefined, path: string): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => unmapped(item, mapping, path));
  if (mapping === undefined) return [`${path} is not mapped`];
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).flatMap(([name, inner]) =>
      unmapped(inner, mapping['dynamic'] === true ? counter(inner) : mapping.properties?.[name], `${path}.${name}`),
    );
  }
  return (TAKES[mapping.type!] ?? isText)(value) ? [] : [`${path} is no ${mapping.type}`];
}

/** The mapping that a new counter, or object of counters, gets. */
const counter = (value: unknown): Mapping => (typeof value === 'object' ? { dynamic: true } : { type: 'long' });

describe('the Elasticsearch index template', () => {
  // `npx vitest run test/deploy/elasticsearch.test.ts -u` writes it anew.
  it('is committed as it is made of the fields that Elastic publishes', async () => {
    await expect(template).toMatchFileSnapshot(join(FOLDER, 'index-template.json'));
  });

  it('has a mapping for every field of every event, which takes its values', () => {
    const { mappings } = JSON.parse(template).template;
    for (const [name, event] of [...EVERY_EVENT, ...HOSTILE_EVENTS]) {
      expect(unmapped(ecs(event), mappings, name)).toEqual([]);
    }
  });

  it('names a lifecycle that there is', () => {
    const policy = JSON.parse(readFileSync(join(FOLDER, 'lifecycle-policy.json'), 'utf8'));
    expect(Object.keys(policy.policy.phases)).toEqual(['hot', 'delete']);
    expect(readFileSync(join(FOLDER, 'README.md'), 'utf8')).toContain(
      `_ilm/policy/${JSON.parse(template).template.settings.index.lifecycle.name}`,
    );
  });
});
