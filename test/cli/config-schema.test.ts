import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { configSample, configSchema } from '../../src/cli/config-schema.js';
import { ROWS, resolveTraceOptions } from '../../src/cli/options.js';
import { packageRoot } from '../../src/package-root.js';

const SAMPLE = join(packageRoot(), 'systemd/config.yaml');

interface Property {
  type?: string | string[];
  enum?: string[];
  pattern?: string;
  anyOf?: Property[];
}

describe('the schema of the configuration', () => {
  // `npx vitest run test/cli/config-schema.test.ts -u` writes both files anew.
  it('is committed as it is made', async () => {
    await expect(configSchema()).toMatchFileSnapshot(join(packageRoot(), 'systemd/config.schema.json'));
  });

  it('goes with a sample that is committed as it is made', async () => {
    await expect(configSample()).toMatchFileSnapshot(SAMPLE);
  });

  it('accepts what the options accept', () => {
    const { properties } = JSON.parse(configSchema()) as { properties: Record<string, Property> };
    const accepts = ({ type, enum: choices, pattern, anyOf }: Property, value: string): boolean =>
      anyOf?.some((one) => accepts(one, value)) ??
      (type === 'array' ? false : choices ? choices.includes(value) : new RegExp(pattern ?? '.').test(value));
    const right = {
      'log-max-size': '50M',
      'log-max-files': '7',
      metrics: '[::1]:9464',
      duration: '90s',
      'ring-size': '64K',
    };
    for (const [name, value] of Object.entries(right)) expect(accepts(properties[name]!, value), name).toBe(true);
    for (const name of Object.keys(right)) expect(accepts(properties[name]!, 'x y'), name).toBe(false);
    expect(accepts(properties['provider']!, 'all')).toBe(true);
    expect(Object.keys(properties)).toEqual(ROWS.map(({ name }) => name).filter((name) => name !== 'config'));
  });
});

describe('the sample', () => {
  it('changes nothing as it is', () => {
    expect(resolveTraceOptions({ config: SAMPLE })).toMatchObject({ provider: ['alibaba'], quiet: false });
    expect(parse(readFileSync(SAMPLE, 'utf8'))).toBeNull();
  });

  it('has a line for each option, which is valid without its #', () => {
    const uncommented = readFileSync(SAMPLE, 'utf8').replace(/^#(?=[a-z-]+:)/gm, '');
    const file = join(mkdtempSync(join(tmpdir(), 'imds-sample-')), 'config.yaml');
    writeFileSync(file, uncommented);
    expect(resolveTraceOptions({ config: file, source: 'pcap' })).toMatchObject({
      quiet: true,
      networkInterface: 'eth0',
    });
    rmSync(dirname(file), { recursive: true });
    expect(Object.keys(parse(uncommented) as object)).toEqual(
      ROWS.map(({ name }) => name).filter((name) => name !== 'config'),
    );
  });
});
