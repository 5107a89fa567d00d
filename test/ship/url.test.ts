import { describe, expect, it } from 'vitest';
import { TracerError } from '../../src/errors.js';
import type { ShipTarget } from '../../src/ship/target.js';
import { parseShipUrl, SHIP_SCHEMES, shipParameters } from '../../src/ship/url.js';

const faultOf = (url: string): TracerError => {
  try {
    parseShipUrl(url);
  } catch (error) {
    if (error instanceof TracerError) return error;
    throw error;
  }
  throw new Error(`${url} was taken`);
};

describe('the URL of a receiver', () => {
  it.each<[string, Partial<ShipTarget>]>([
    ['syslog+tcp://logs.example.com', { kind: 'syslog', transport: 'tcp', host: 'logs.example.com', port: 514 }],
    ['syslog+udp://10.0.0.1:5514', { transport: 'udp', host: '10.0.0.1', port: 5514, maxSize: 8192 }],
    ['syslog+tls://logs.example.com', { transport: 'tls', port: 6514, facility: 16, format: 'text', tls: {} }],
    ['SYSLOG+TLS://Logs.Example.com', { transport: 'tls', host: 'logs.example.com' }],
    ['syslog+tcp://[fd00::1]:601', { host: 'fd00::1', port: 601, name: 'syslog+tcp://[fd00::1]:601' }],
    ['syslog+tcp://h?format=ocsf&facility=authpriv&app-name=x', { format: 'ocsf', facility: 10, appName: 'x' }],
    ['syslog+tcp://h?max-size=64K', { maxSize: 65536 }],
    [
      'syslog+tls://h?ca=/ca.pem&cert=/c.pem&key=/k.pem&servername=s.example.com',
      { tls: { ca: '/ca.pem', cert: '/c.pem', key: '/k.pem', servername: 's.example.com' } },
    ],
    ['otlp+http://h:4318', { kind: 'otlp', secure: false, port: 4318, path: '/v1/logs', gzip: true }],
    ['otlp+https://h', { kind: 'otlp', secure: true, port: 4318, tls: {} }],
    ['otlp+http://h/otlp/', { path: '/otlp/v1/logs', name: 'otlp+http://h:4318/otlp/v1/logs' }],
    ['otlp+http://h/x/v1/logs?compression=none', { path: '/x/v1/logs', gzip: false }],
    ['otlp+http://h?headers-file=/etc/imds-tracer/headers', { headersFile: '/etc/imds-tracer/headers' }],
  ])('%s', (url, target) => {
    expect(parseShipUrl(url)).toMatchObject(target);
  });

  it.each([
    ['syslog+tcp://user:secret-word@h', 'IMDS_SHIP_CREDENTIALS'],
    ['otlp+https://secret-word@h:4318', 'IMDS_SHIP_CREDENTIALS'],
    ['syslog://h', 'IMDS_SHIP_URL'],
    ['logs.example.com:514', 'IMDS_SHIP_URL'],
    ['', 'IMDS_SHIP_URL'],
    ['__proto__://h', 'IMDS_SHIP_URL'],
    ['syslog+tcp://', 'IMDS_SHIP_URL'],
    ['syslog+tcp://h:0', 'IMDS_SHIP_URL'],
    ['syslog+tcp://h:99999', 'IMDS_SHIP_URL'],
    ['syslog+tcp://h/path', 'IMDS_SHIP_URL'],
    ['syslog+tcp://h#x', 'IMDS_SHIP_URL'],
    ['syslog+tcp://h%0ax', 'IMDS_SHIP_URL'],
    ['syslog+tcp://h?format=xml', 'IMDS_SHIP_URL'],
    ['syslog+tcp://h?facility=local8', 'IMDS_SHIP_URL'],
    ['syslog+tcp://h?format=ecs&format=text', 'IMDS_SHIP_URL'],
    ['syslog+tcp://h?format=', 'IMDS_SHIP_URL'],
    ['syslog+tcp://h?ca=/x', 'IMDS_SHIP_URL'],
    ['syslog+tls://h?cert=/x', 'IMDS_SHIP_URL'],
    ['syslog+tls://h?ca=x.pem', 'IMDS_SHIP_URL'],
    ['syslog+tcp://h?app-name=a%20b', 'IMDS_SHIP_URL'],
    ['syslog+udp://h?max-size=1M', 'IMDS_SHIP_URL'],
    ['syslog+tls://h?insecure=true', 'IMDS_SHIP_URL'],
    ['otlp+http://h?token=secret-word', 'IMDS_SHIP_URL'],
    // Wrong for another reason, and holding a secret all the same.
    ['syslog+tls:user:secret-word@h', 'IMDS_SHIP_URL'],
    ['syslog+tls:\\\\user:secret-word@h', 'IMDS_SHIP_URL'],
    ['otlp+https://h?token=secret-word#x', 'IMDS_SHIP_URL'],
    ['otlp+https://h:99999?token=secret-word', 'IMDS_SHIP_URL'],
    ['otlp+https://h#secret-word', 'IMDS_SHIP_URL'],
  ])('%s is refused', (url, code) => {
    const fault = faultOf(url);
    expect(fault).toMatchObject({ code, exitStatus: 2 });
    expect(fault.remedy).not.toBe('');
    expect(`${fault.message}${fault.remedy}`).not.toMatch(/secret-word|[\0-\x1f]/);
  });

  it('says the nearest parameter, and where the URL stands', () => {
    expect(faultOf('syslog+tcp://h?formt=ecs').message).toContain('did you mean "format"');
    expect(() => parseShipUrl('x', 'config.yaml, line 3: ship')).toThrow(/^config\.yaml, line 3: ship: /);
  });

  it('gives each receiver and format a spool of its own, which no file of the URL changes', () => {
    const ids = [
      'syslog+tcp://h',
      'syslog+tcp://h?format=ecs',
      'syslog+tls://h',
      'syslog+tcp://h:515',
      'otlp+http://h',
    ];
    expect(new Set(ids.map((url) => parseShipUrl(url).id)).size).toBe(ids.length);
    expect(parseShipUrl('syslog+tls://h?ca=/a').id).toBe(parseShipUrl('syslog+tls://h?ca=/b').id);
    for (const url of [...ids, 'otlp+http://h/../../..', `syslog+tcp://${'a.'.repeat(120)}b`]) {
      expect(parseShipUrl(url).id).toMatch(/^[a-z0-9][a-z0-9.-]{1,120}$/);
    }
  });

  it('knows its schemes and their parameters', () => {
    expect(SHIP_SCHEMES.map((scheme) => [scheme, shipParameters(scheme).includes('ca')])).toEqual([
      ['syslog+tcp', false],
      ['syslog+tls', true],
      ['syslog+udp', false],
      ['otlp+http', false],
      ['otlp+https', true],
    ]);
  });
});
