import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isUnder, judgedPath, targetAuthority, urlParts } from '../../src/imds/paths.js';
import { severityOf } from '../../src/imds/severity.js';

describe('urlParts', () => {
  it.each([
    ['/latest/meta-data/', { path: '/latest/meta-data/' }],
    ['//Latest/%6Deta/../x?a=b?c#d', { path: '//Latest/%6Deta/../x', query: 'a=b?c#d' }],
    ['/latest?', { path: '/latest' }],
    ['http://100.100.100.200/latest/a?b', { path: '/latest/a', query: 'b' }],
    ['HTTP://user:pw@[fd00:ec2::254]:80//a', { path: '//a' }],
    ['http://100.100.100.200', { path: '/' }],
    ['http://100.100.100.200?x=/y', { path: '/', query: 'x=/y' }],
    ['/redirect?to=http://evil/x', { path: '/redirect', query: 'to=http://evil/x' }],
    ['/a://b/c', { path: '/a://b/c' }],
    ['latest/meta-data', { path: 'latest/meta-data' }],
    ['*', { path: '*' }],
    ['', { path: '' }],
    ['?', { path: '' }],
    ['100.100.100.200:80', { path: '100.100.100.200:80' }],
  ])('%s', (target, parts) => {
    expect(urlParts(target)).toEqual(parts);
  });
});

describe('targetAuthority', () => {
  it.each([
    ['http://Host:80/x', 'Host:80'],
    ['http://100.100.100.200@evil/x', 'evil'],
    ['https://h?x@y', 'h'],
    ['http:///x', ''],
    ['//h/x', undefined],
    ['/x?u=http://h/', undefined],
    ['x y://h/', undefined],
  ])('%s', (target, authority) => {
    expect(targetAuthority(target)).toBe(authority);
  });
});

describe('judgedPath', () => {
  it.each([
    ['/latest/meta-data/Ram/security-credentials/Role', '/latest/meta-data/ram/security-credentials/role', true],
    ['//latest///meta-data//', '/latest/meta-data', true],
    ['/latest/user-data?', '/latest/user-data', true],
    ['/2016-01-01/meta-data/', '/latest/meta-data', true],
    ['/1.0/meta-data', '/latest/meta-data', true],
    ['/openstack/2012-08-10/user_data', '/openstack/latest/user_data', true],
    ['/latest/meta-data/2016-01-01', '/latest/meta-data/2016-01-01', true],
    ['http://100.100.100.200/latest/%75ser-data', '/latest/user-data', true],
    ['/%6c%61test/meta%2Ddata', '/latest/meta-data', true],
    ['/%4C%41TEST/', '/latest', true],
    ['/latest/./meta-data/.', '/latest/meta-data', true],
    ['http:/latest/user-data', '/http:/latest/user-data', false],
    ['/computeMetadata/../latest', '/latest', false],
    ['/computeMetadata/%2e%2E/latest', '/latest', false],
    ['/computeMetadata/..%2flatest/meta-data', '/latest/meta-data', false],
    ['/../../..', '/', false],
    ['/latest%2Fuser-data', '/latest/user-data', false],
    ['/%256cest', '/%256cest', false],
    ['/latest%00', '/latest%00', false],
    ['/latest/user-data#x', '/latest/user-data', false],
    ['/latest;x/y', '/latest;x/y', false],
    ['/latest\\meta-data', '/latest\\meta-data', false],
    ['/lat\xe9st', '/lat\xe9st', false],
    ['/a%', '/a%', false],
    ['latest/meta-data', '/latest/meta-data', false],
    ['', '/', false],
    ['*', '/*', false],
  ])('%s', (target, path, plain) => {
    expect(judgedPath(target)).toEqual({ path, plain });
  });

  it('is linear in a hostile target', () => {
    // Quadratic work on these 64 KiB would take minutes, and so run into the test's own limit.
    const hostile = ['/..', '/a', '%2e', '%', '//', '://', '@', '/a/../', 'a:', '#', '\0', '%2f..'];
    for (const part of hostile) {
      const target = part.repeat(Math.floor(65_536 / part.length));
      judgedPath(target);
      urlParts(target);
      targetAuthority(`x${target}`);
      expect(severityOf(judgedPath(target).path)).toBeDefined();
    }
  });

  it('gives a normal form that it leaves alone, for any target', () => {
    const piece = fc.constantFrom(
      '/',
      '..',
      '.',
      '%2e',
      '%2f',
      '%25',
      'latest',
      '2016-01-01',
      '?',
      '#',
      'A',
      '\xff',
      ':',
      '@',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const { path } = judgedPath(`/${pieces.join('')}`);
        expect(path).toMatch(/^\/(?:[^/?#]+(?:\/[^/?#]+)*)?$/);
        expect(path).toBe(path.toLowerCase());
        expect(path.split('/')).not.toContain('..');
      }),
    );
  });
});

describe('isUnder', () => {
  it.each([
    ['/latest', '/latest', true],
    ['/latest/x', '/latest', true],
    ['/latestx', '/latest', false],
    ['/', '/latest', false],
  ])('%s under %s: %s', (path, family, under) => {
    expect(isUnder(path, family)).toBe(under);
  });
});

describe('severity', () => {
  it.each([
    ['critical', '/latest/meta-data/ram/security-credentials/EcsRole'],
    ['critical', '/latest/meta-data/iam/security-credentials/role/more'],
    ['critical', '//2016-01-01//meta-data/RAM/Security-Credentials//role?'],
    ['critical', 'http://100.100.100.200/latest/meta-data/ram/%73ecurity-credentials/role'],
    ['critical', '/latest%2fmeta-data%2fram%2fsecurity-credentials%2frole'],
    ['critical', '/latest/meta-data/x/../ram/security-credentials/role'],
    ['critical', '/volcstack/latest/iam/security_credentials/role'],
    ['critical', '/latest/iam/security_credentials/role'],
    ['critical', '/openstack/latest/securitykey'],
    ['critical', '/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance'],
    ['high', '/latest/meta-data/ram/security-credentials'],
    ['high', '/latest/meta-data/ram/security-credentials/'],
    ['high', '/latest/meta-data/iam/security-credentials//'],
    ['high', '/latest/meta-data/iam/security-credentials/role/..'],
    ['high', '/latest/meta-data/ram/security-credentials/?role'],
    ['high', '/volcstack/latest/iam/security_credentials/'],
    ['high', '/latest/meta-data/iam/info'],
    ['high', '/latest/user-data'],
    ['high', '/latest/user-data/'],
    ['high', '/latest/user-data#x'],
    ['high', '/2009-04-04/user-data'],
    ['high', '/openstack/latest/user_data'],
    ['high', '/latest/vendor-data'],
    ['high', '/openstack/2018-08-27/vendor_data2.json'],
    ['medium', '/latest/dynamic/instance-identity/document'],
    ['medium', '/latest/dynamic/instance-identity'],
    ['medium', '/latest/meta-data/public-keys/0/openssh-key'],
    ['medium', '/openstack/latest/meta_data.json'],
    ['low', '/latest/meta-data/instance-id'],
    ['low', '/latest/meta-data/'],
    ['low', '/latest/meta-data/ram'],
    ['low', '/latest/meta-data/tags/instance/user-data'],
    ['low', '/latest/meta-data/ram/security-credentialsx/role'],
    ['low', '/latest/meta-data?x=/ram/security-credentials/role'],
    ['low', '/'],
    ['low', ''],
  ])('%s: %s', (severity, target) => {
    expect(severityOf(judgedPath(target).path)).toBe(severity);
  });
});
