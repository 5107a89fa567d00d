import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { packageRoot } from '../../src/package-root.js';
import { parseShipUrl, SHIP_SCHEMES, shipParameters } from '../../src/ship/url.js';

const PAGE = readFileSync(join(packageRoot(), 'docs/shipping.md'), 'utf8');

/** What the first column of a section's table names in code font. */
const named = (heading: string): string[] =>
  PAGE.split(/^## /m)
    .find((part) => part.startsWith(`${heading}\n`))!
    .split('\n')
    .flatMap((line) =>
      line.startsWith('| `') ? [...line.split('|')[1]!.matchAll(/`([^`]+)`/g)].map(([, word]) => word!) : [],
    );

it('docs/shipping.md has every kind of receiver with its port', () => {
  const urls = named('Receivers').map((url) => [url.split('://')[0], Number(/:(\d+)\]/.exec(url)![1])]);
  expect(urls).toEqual(SHIP_SCHEMES.map((scheme) => [scheme, parseShipUrl(`${scheme}://h`).port]));
});

it('docs/shipping.md has every parameter and no other', () => {
  expect(named('Parameters').sort()).toEqual([...new Set(SHIP_SCHEMES.flatMap(shipParameters))].sort());
});

it('docs/shipping.md has examples that are valid', () => {
  const urls = [...PAGE.matchAll(/--ship '([^']+)'/g)].map(([, url]) => url!);
  expect(urls.length).toBeGreaterThan(1);
  for (const url of urls) expect(() => parseShipUrl(url)).not.toThrow();
});
