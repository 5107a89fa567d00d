import { expect, it } from 'vitest';
import { parseShipUrl, SHIP_SCHEMES, shipParameters } from '../../src/ship/url.js';
import { named, page, section } from '../support/page.js';

const PAGE = page('shipping.md');

it('docs/shipping.md has every kind of receiver with its port', () => {
  const urls = named(section(PAGE, 'Receivers')).map((url) => [url.split('://')[0], Number(/:(\d+)\]/.exec(url)![1])]);
  expect(urls).toEqual(SHIP_SCHEMES.map((scheme) => [scheme, parseShipUrl(`${scheme}://h`).port]));
});

it('docs/shipping.md has every parameter and no other', () => {
  expect(named(section(PAGE, 'Parameters')).sort()).toEqual([...new Set(SHIP_SCHEMES.flatMap(shipParameters))].sort());
});

it('docs/shipping.md has examples that are valid', () => {
  const urls = [...PAGE.matchAll(/--ship '([^']+)'/g)].map(([, url]) => url!);
  expect(urls.length).toBeGreaterThan(1);
  for (const url of urls) expect(() => parseShipUrl(url)).not.toThrow();
});
