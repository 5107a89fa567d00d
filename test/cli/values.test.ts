import { describe, expect, it } from 'vitest';
import { parseDuration, parseEndpoint, parseRingSize } from '../../src/cli/values.js';
import { TracerError } from '../../src/errors.js';

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof TracerError) return `${error.code} ${error.exitStatus}`;
    throw error;
  }
  return 'no error';
};

describe('durations', () => {
  it.each([
    ['90s', 90_000],
    ['10m', 600_000],
    ['24h', 86_400_000],
    ['1500ms', 1_500],
    ['40d', 3_456_000_000],
  ])('%s is %d ms', (text, ms) => expect(parseDuration(text, '--duration')).toBe(ms));

  it.each(['', '90', 's', '-1s', '1.5h', '0s', '9e9s', '1 s', '10mm'])('refuses "%s"', (text) =>
    expect(codeOf(() => parseDuration(text, '--duration'))).toBe('IMDS_BAD_DURATION 2'),
  );
});

describe('endpoints', () => {
  it.each([
    ['100.100.100.200', '100.100.100.200', 80],
    ['1.2.3.4:8080', '1.2.3.4', 8080],
    ['fd00:ec2::254', 'fd00:ec2::254', 80],
    ['FD00:0EC2:0::254', 'fd00:ec2::254', 80],
    ['[fd00:ec2::254]:8080', 'fd00:ec2::254', 8080],
    ['[fd00:ec2::254]', 'fd00:ec2::254', 80],
    ['::ffff:1.2.3.4', '1.2.3.4', 80],
  ])('%s', (text, address, port) => expect(parseEndpoint(text, '--endpoint')).toEqual({ address, port }));

  it.each([
    '',
    'localhost',
    '1.2.3',
    '1.2.3.4:',
    '1.2.3.4:0',
    '1.2.3.4:65536',
    '[1.2.3.4]:80',
    'fe80::1%eth0',
    '1.2.3.4/32',
    '::1]:80',
  ])('refuses "%s"', (text) => expect(codeOf(() => parseEndpoint(text, '--endpoint'))).toBe('IMDS_BAD_ENDPOINT 2'));
});

describe('ring sizes', () => {
  it.each([
    ['4096', 4096],
    ['64K', 65536],
    ['8MiB', 8388608],
    ['16mb', 16777216],
  ])('%s', (text, bytes) => expect(parseRingSize(text, '--ring-size')).toBe(bytes));

  it.each(['0', '5000', '2048', '2G', 'x', '-8M'])('refuses "%s"', (text) =>
    expect(codeOf(() => parseRingSize(text, '--ring-size'))).toBe('IMDS_BAD_SIZE 2'),
  );
});
