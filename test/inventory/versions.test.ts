import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { atLeast, compareDebian, compareMaven, comparePep440, compareSemver } from '../../src/inventory/versions.js';

/** Each list in ascending order; versions that are the same stand together. */
const ORDERS: Readonly<Record<string, readonly [(a: string, b: string) => number, readonly (string | string[])[]]>> = {
  // Semantic Versioning 2.0.0, section 11, and what package managers add to it.
  semver: [
    compareSemver,
    [
      '0.9.9',
      ['1.0.0-alpha', '1.0.0-alpha+build'],
      '1.0.0-alpha.1',
      '1.0.0-alpha.beta',
      '1.0.0-beta',
      '1.0.0-beta.2',
      '1.0.0-beta.11',
      '1.0.0-rc.1',
      ['1.0.0', 'v1.0.0', '1.0', '1.0.0+incompatible'],
      '1.2.3',
      '1.10.0',
      '99999999999999999999.0.0',
    ],
  ],
  // The examples of PEP 440.
  pep440: [
    comparePep440,
    [
      '1.dev0',
      ['1.0.dev456', '1.dev456'],
      '1.0a1',
      '1.0a2.dev456',
      ['1.0a12', '1.0-alpha.12'],
      '1.0b1.dev456',
      '1.0b2',
      '1.0b2.post345.dev456',
      '1.0b2.post345',
      '1.0rc1.dev456',
      ['1.0rc1', '1.0c1'],
      ['1.0', '1', '1.0.0', '1.0+abc.5'],
      ['1.0.post456', '1.0-456'],
      '1.1.dev1',
      '1.10',
      '1!0.1',
    ],
  ],
  // Debian Policy 5.6.12, and versions of cloud-init as they are.
  debian: [
    compareDebian,
    [
      '22.4.2-1+deb12u1',
      '23.2.2~rc1-1',
      '23.2.2',
      '23.2.2-0ubuntu0~22.04.1',
      '23.2.2-0ubuntu1',
      '24.1.3-0ubuntu1~20.04.1',
      '1:1.0-1',
      '1:1.0a-1',
      '1:1.0+dfsg-1',
    ],
  ],
  maven: [
    compareMaven,
    [
      '0.3.9',
      '0.3.10-alpha-1',
      '0.3.10-beta-1',
      '0.3.10-rc1',
      '0.3.10-SNAPSHOT',
      ['0.3.10', '0.3.10.RELEASE', '0.3.10-final'],
      '0.3.10-sp1',
      '0.3.11',
      '1.0',
    ],
  ],
};

describe('versions', () => {
  for (const [name, [compare, order]] of Object.entries(ORDERS)) {
    it(`are in the order of ${name}`, () => {
      const ranked = order.flatMap((group, rank) => [group].flat().map((version) => ({ version, rank })));
      for (const a of ranked) {
        for (const b of ranked) {
          expect([a.version, Math.sign(compare(a.version, b.version)), b.version]).toEqual([
            a.version,
            Math.sign(a.rank - b.rank),
            b.version,
          ]);
        }
      }
    });
  }

  it('of any text compare without throwing, and turned round the other way', () => {
    const texts = fc.oneof(fc.string({ maxLength: 300 }), fc.stringMatching(/^[v0-9.a-z:~+!-]{0,40}$/));
    fc.assert(
      fc.property(texts, texts, (a, b) => {
        for (const [compare] of Object.values(ORDERS)) {
          expect(Math.sign(compare(a, b)) + Math.sign(compare(b, a))).toBe(0);
        }
      }),
    );
  });

  it('that are none are not compared', () => {
    expect(atLeast('go', '(devel)', '1.3.10')).toBeUndefined();
    expect(atLeast('go', '', '1.3.10')).toBeUndefined();
    expect(atLeast('go', 'v1.3.10', '1.3.10')).toBe(true);
    expect(atLeast('npm', '2.4.0-rc.1', '2.4.0')).toBe(false);
    expect(atLeast('package', '1:23.2.2-1', '23.2.2')).toBe(true);
    expect(atLeast('package', '1:22.4-1', '23.2.2')).toBe(false);
  });
});
