import { describe, expect, it } from 'vitest';
import { HostNames } from '../../src/imds/hosts.js';

describe('an IPv4 endpoint', () => {
  const hosts = new HostNames('169.254.169.254', 80, ['instance-data']);
  it.each([
    ['169.254.169.254', true],
    ['169.254.169.254:80', true],
    ['169.254.169.254:', true],
    ['Instance-Data', true],
    ['instance-data.:80', true],
    ['[::ffff:169.254.169.254]', true],
    ['[::FFFF:a9fe:a9fe]:80', true],
    ['169.254.169.254:8080', false],
    ['169.254.169.254.evil.example', false],
    ['169.254.169.25', false],
    ['100.100.100.200', false],
    ['instance-data.evil', false],
    ['evil', false],
    ['', false],
    [':80', false],
    ['..', false],
    ['169.254.169.254:80:80', false],
    ['[169.254.169.254]', false],
    ['169.254.169.254, evil', false],
    ['user@169.254.169.254', false],
    ['a'.repeat(65_536), false],
    ['[::::]', false],
    ['[', false],
  ])('%s: %s', (authority, known) => {
    expect(hosts.has(authority)).toBe(known);
  });
});

describe('an IPv6 endpoint', () => {
  const hosts = new HostNames('fd00:ec2::254', 80, []);
  it.each([
    ['[fd00:ec2::254]', true],
    ['[FD00:EC2::254]:80', true],
    ['[fd00:0ec2:0:0:0:0:0:0254]', true],
    ['fd00:ec2::254', false],
    ['[fd00:ec2::254]:81', false],
    ['[fd00:ec2::255]', false],
    ['[fd00:ec2::254%25eth0]', false],
  ])('%s: %s', (authority, known) => {
    expect(hosts.has(authority)).toBe(known);
  });
});

it('wants the port of an endpoint that is not on port 80, where one is named', () => {
  const hosts = new HostNames('10.0.0.1', 8080, []);
  expect(['10.0.0.1:8080', '10.0.0.1', '10.0.0.1:80'].map((host) => hosts.has(host))).toEqual([true, true, false]);
});
