import { spawnSync } from 'node:child_process';
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

const config = (text: string | Buffer): string => {
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
      logRotation: { maxBytes: 50 * 1024 * 1024, maxFiles: 10 },
      ship: [],
      spoolDir: '/var/log/imds/spool',
      spoolBytes: 256 * 1024 * 1024,
      format: 'ecs',
      lab: false,
      quiet: false,
    });
  });

  it('take every value from the configuration file', () => {
    const file = config(
      'provider: [aws, naver]\nendpoint: 10.0.0.1:8080\nsource: ebpf\nlog-dir: /tmp/x\nduration: 10m\nring-size: 64K\nquiet: true\nlog-max-size: 1M\nlog-max-files: 3\nmetrics: 9464\nformat: ocsf\n',
    );
    expect(resolveTraceOptions({ config: file })).toEqual({
      provider: ['aws', 'naver'],
      endpoint: [{ address: '10.0.0.1', port: 8080 }],
      source: 'ebpf',
      logDir: '/tmp/x',
      logRotation: { maxBytes: 1024 * 1024, maxFiles: 3 },
      ship: [],
      spoolDir: '/tmp/x/spool',
      spoolBytes: 256 * 1024 * 1024,
      format: 'ocsf',
      metrics: { host: '127.0.0.1', port: 9464 },
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
    [
      'an unknown key, naming the nearest',
      '\nlog_dir: /tmp',
      'IMDS_CONFIG_UNKNOWN_KEY',
      'yaml:2: "log_dir" (did you mean "log-dir"?)',
    ],
    ['a key that objects have', '__proto__: {x: 1}', 'IMDS_CONFIG_INVALID', 'yaml:1: __proto__: its value is no text'],
    ['a key of control characters', '"a\\x1b[31m\\nb": 1', 'IMDS_CONFIG_UNKNOWN_KEY', String.raw`"a\x1b[31m\x0ab"`],
    ['no mapping', '- a\n- b', 'IMDS_CONFIG_INVALID', 'no mapping'],
    ['a text', 'hello', 'IMDS_CONFIG_INVALID', 'no mapping'],
    ['broken YAML', 'quiet: true\na: [', 'IMDS_CONFIG_INVALID', 'yaml:2: it is no valid YAML'],
    ['a tab for an indent', 'provider:\n\t- aws', 'IMDS_CONFIG_INVALID', 'yaml:2: it is no valid YAML'],
    ['two documents', 'quiet: true\n---\nquiet: false', 'IMDS_CONFIG_INVALID', 'multiple documents'],
    [
      'the same key twice',
      'quiet: true\n\nquiet: false',
      'IMDS_CONFIG_INVALID',
      'yaml:3: it is no valid YAML: Map keys must be unique',
    ],
    [
      'a wrong choice',
      'provider: alibba',
      'IMDS_BAD_VALUE',
      'yaml:1): "alibba" is not known (did you mean "alibaba"?)',
    ],
    ['a wrong choice in a list', 'provider: [aws, 7]', 'IMDS_BAD_VALUE', '"7" is not known'],
    ['a nested value', 'log-dir: {a: 1}', 'IMDS_CONFIG_INVALID', 'yaml:1: log-dir: its value is no text'],
    ['a nested list', 'provider: [[aws]]', 'IMDS_CONFIG_INVALID', 'provider: its value is no text'],
    ['a list for one value', 'log-dir: [a, b]', 'IMDS_BAD_VALUE', 'it takes one value'],
    ['no value', 'log-dir:', 'IMDS_CONFIG_INVALID', 'log-dir: there is no value'],
    ['a flag that is none', 'quiet: 7', 'IMDS_BAD_VALUE', 'neither true nor false'],
    ['a flag that only YAML 1.1 knows', 'quiet: yes', 'IMDS_BAD_VALUE', 'neither true nor false'],
    ['a size that is none', 'log-max-size: 5x', 'IMDS_BAD_SIZE', 'yaml:1): "5x" is no size'],
    ['too many files', 'log-max-files: 1001', 'IMDS_BAD_VALUE', 'no number from 1 to 1000'],
    ['no files', 'log-max-files: 0', 'IMDS_BAD_VALUE', 'no number from 1 to 1000'],
    ['a port that is none', 'metrics: 70000', 'IMDS_BAD_VALUE', 'no address to listen on'],
    ['a port on all addresses unsaid', 'metrics: :9464', 'IMDS_BAD_VALUE', 'no address to listen on'],
    ['a tag', 'log-dir: !!binary aGVsbG8=', 'IMDS_CONFIG_INVALID', 'no text'],
    ['a tag of a language', 'log-dir: !!js/function x', 'IMDS_CONFIG_INVALID', 'tag'],
    ['an alias', 'log-dir: &a x\nevidence: *a', 'IMDS_CONFIG_INVALID', 'anchors have no meaning'],
    [
      'a bomb of aliases',
      'a: &a [x]\nb: &b [*a,*a]\nprovider: [*b,*b]',
      'IMDS_CONFIG_INVALID',
      'anchors have no meaning',
    ],
    ['a merge key', '<<: {quiet: true}', 'IMDS_CONFIG_INVALID', 'its value is no text'],
    ['deep nesting', '['.repeat(60_000), 'IMDS_CONFIG_INVALID', 'yaml:1: '],
    ['deep mappings', '{a: '.repeat(15_000), 'IMDS_CONFIG_INVALID', 'yaml:1: '],
    ['bytes that are no UTF-8', Buffer.from('log-dir: /tmp/\xff', 'latin1'), 'IMDS_CONFIG_UNREADABLE', 'not valid'],
    ['a file without end', `quiet: true\n${'#'.repeat(70_000)}`, 'IMDS_CONFIG_UNREADABLE', 'more than 64 KiB'],
  ])('refuse %s', (_, text, code, words) => {
    const error = refusal({ config: config(text) });
    expect(error.code).toBe(code);
    expect(error.exitStatus).toBe(2);
    expect(error.message).toContain(words);
  });

  it('take a value for the text that it is', () => {
    const options = resolveTraceOptions({ config: config('log-dir: 012\nlog-max-files: 0x3\n'), logMaxFiles: '3' });
    expect(options.logDir).toBe('012');
  });

  it('refuse what is no plain file, without waiting for it', () => {
    expect(refusal({ config: directory }).message).toContain('no plain file');
    const fifo = join(directory, 'fifo');
    expect(spawnSync('mkfifo', [fifo]).status).toBe(0);
    expect(refusal({ config: fifo }).message).toContain('no plain file');
    expect(refusal({ config: '/dev/zero' }).message).toContain('no plain file');
  });

  it('refuse a named file that is not there', () => {
    expect(refusal({ config: join(directory, 'none.yaml') }).code).toBe('IMDS_CONFIG_UNREADABLE');
  });
});
