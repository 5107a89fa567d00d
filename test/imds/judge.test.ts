import { expect, it } from 'vitest';
import { Judge } from '../../src/imds/judge.js';
import type { RequestHead } from '../../src/wire/types.js';
import { oneOf, randomFrom } from '../support/random.js';
import { answer, endpointOf } from './helpers.js';

const ENDPOINTS = [endpointOf('alibaba'), endpointOf('aws')];
const TARGETS = [
  ...['/latest/api/token', '/latest/api/token?x', '/latest/meta-data/ram/security-credentials/role', '/latest/?a=/b'],
  ...['http://evil.example/latest/api/token', 'http://100.100.100.200/latest/api/token', '/computeMetadata/v1/', '*'],
];
/** One object each, as of heads that recur. */
const HEADERS: RequestHead['headers'][] = [
  [{ name: 'Host', value: '100.100.100.200' }],
  [{ name: 'X-aliyun-ecs-metadata-token', value: 'dG9rZW4' }],
  [{ name: 'X-aws-ec2-metadata-token-ttl-seconds', value: '60' }],
];

it('judges heads whose lines came before as if they came for the first time', () => {
  const random = randomFrom(20_261_122);
  const remembering = new Judge();
  for (let i = 0; i < 5_000; i++) {
    const head: RequestHead = {
      time: i,
      method: oneOf(random, ['GET', 'PUT']),
      target: oneOf(random, TARGETS),
      version: oneOf(random, ['1.1', '1.0']),
      headers: oneOf(random, HEADERS),
      headBytes: 100,
    };
    const endpoint = oneOf(random, ENDPOINTS);
    const response = oneOf(random, [answer(200), answer(401), undefined]);
    const anew = new Judge();
    const first = anew.begin(head, endpoint);
    const again = remembering.begin({ ...head, recurring: true }, endpoint);
    expect(again.time).toBe(first.time);
    expect(remembering.finish(again, response), JSON.stringify(head)).toEqual(anew.finish(first, response));
  }
});
