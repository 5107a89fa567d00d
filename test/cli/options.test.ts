import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { resolveTraceOptions } from '../../src/cli/options.js';
import { TracerError } from '../../src/errors.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'imds-options-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const config = (text: string): string => {
  const file = join(directory, 'config.yaml');
  writeFileSync(file, text);
  return file;
};

const refusal = (given: Record<string, unknown>): TracerError => {
  try {
    resolveTraceOptions(given);
  } catch (error) {
    if (error instanceof TracerError) return error;
    throw error;
  }
  throw new Error('accepted');
};

describe('trace options', () => {
  it('have the documented defaults', () => {
    expect(resolveTraceOptions({ config: config('') })).toEqual({
      provider: ['alibaba'],
      endpoint: [],
      source: 'auto',
      logDir: '/var/log/imds',
      lab: false,
      quiet: false,
    });
  });

  it('take every value from the configuration file', () => {
    const file = config(
      'provider: [aws, naver]\nendpoint: 10.0.0.1:8080\nsource: ebpf\nlog-dir: /tmp/x\nduration: 10m\nring-size: 64K\nquiet: true\n',
    );
    expect(resolveTraceOptions({ config: file })).toEqual({
      provider: ['aws', 'naver'],
      endpoint: [{ address: '10.0.0.1', port: 8080 }],
      source: 'ebpf',
      logDir: '/tmp/x',
      durationMs: 600_000,
      ringSize: 65_536,
      lab: false,
      quiet: true,
    });
  });

  it('let the command line win over the file', () => {
    const file = config('provider: aws\nlog-dir: /tmp/x\n');
    expect(resolveTraceOptions({ config: file, provider: ['huawei'] })).toMatchObject({
      provider: ['huawei'],
      logDir: '/tmp/x',
    });
  });

  it('take "all" for every provider of the table', () => {
    expect(resolveTraceOptions({ config: config('provider: all') }).provider).toEqual([
      'alibaba',
      'aws',
      'naver',
      'huawei',
      'volcengine',
    ]);
  });

  it.each([
    ['an unknown key, naming the nearest', 'log_dir: /tmp', 'IMDS_CONFIG_UNKNOWN_KEY', 'did you mean "log-dir"?'],
    ['no mapping', '- a\n- b', 'IMDS_CONFIG_INVALID', 'no mapping'],
    ['broken YAML', 'a: [', 'IMDS_CONFIG_INVALID', 'no valid YAML'],
    ['a wrong choice', 'provider: alibba', 'IMDS_BAD_VALUE', 'did you mean "alibaba"?'],
    ['a nested value', 'log-dir: {a: 1}', 'IMDS_BAD_VALUE', 'no text'],
    ['a flag that is none', 'quiet: 7', 'IMDS_BAD_VALUE', 'neither true nor false'],
    ['a bomb of aliases', 'a: &a [x]\nb: &b [*a,*a]\nprovider: [*b,*b]', 'IMDS_CONFIG_INVALID', 'Alias'],
  ])('refuse %s', (_, text, code, words) => {
    const error = refusal({ config: config(text) });
    expect(error.code).toBe(code);
    expect(error.exitStatus).toBe(2);
    expect(error.message).toContain(words);
  });

  it('refuse a named file that is not there', () => {
    expect(refusal({ config: join(directory, 'none.yaml') }).code).toBe('IMDS_CONFIG_UNREADABLE');
  });
});
