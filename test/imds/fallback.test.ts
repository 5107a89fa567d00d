import { describe, expect, it } from 'vitest';
import { FALLBACK_WINDOW_MS, TokenRequests } from '../../src/imds/fallback.js';
import { Judge } from '../../src/imds/judge.js';
import { answer, endpointOf, head, tokenRequest } from './helpers.js';

const alibaba = endpointOf('alibaba');
const REFUSED = ['fallback_after_token_refused'];
const ISSUED = ['fallback_after_token_issue'];

/** Judges in order: [process, kind, time, status; 0 for no answer]; gives the reasons of each request without token. */
function run(
  steps: readonly (readonly [process: string, kind: 'put' | 'get' | 'token-get', time: number, status: number])[],
  judge = new Judge(),
  knownAtBegin = true,
) {
  const sent = {
    put: tokenRequest('alibaba'),
    get: {},
    'token-get': { headers: [['X-aliyun-ecs-metadata-token', 'abc']] as const },
  };
  return steps.flatMap(([process, kind, time, status]) => {
    const pending = judge.begin(head(alibaba, { ...sent[kind], time }), alibaba, knownAtBegin ? process : undefined);
    const judgement = judge.finish(pending, status === 0 ? undefined : answer(status), process);
    return kind === 'get' ? [judgement.reasons] : [];
  });
}

describe('fallback', () => {
  it.each([true, false])('tells a refused token request from a granted one (process known at begin: %s)', (known) => {
    const judge = new Judge();
    const reasons = run(
      [
        ['a', 'put', 0, 403],
        ['b', 'put', 0, 200],
        ['c', 'put', 0, 0],
        ['a', 'get', 10, 200],
        ['b', 'get', 10, 200],
        ['c', 'get', 10, 200],
        ['d', 'get', 10, 200],
      ],
      judge,
      known,
    );
    expect(reasons).toEqual([REFUSED, ISSUED, REFUSED, []]);
  });

  it('counts a token request with the wrong method or without TTL as refused', () => {
    const judge = new Judge();
    for (const [process, sent] of [
      ['a', { method: 'GET', target: '/latest/api/token' }],
      ['b', { method: 'PUT', target: '/latest/api/token' }],
    ] as const) {
      judge.finish(judge.begin(head(alibaba, sent), alibaba, process), answer(200), process);
    }
    expect(
      run(
        [
          ['a', 'get', 1_001, 200],
          ['b', 'get', 1_001, 200],
        ],
        judge,
      ),
    ).toEqual([REFUSED, REFUSED]);
  });

  it('remembers for 60 s of event time, both ends included, and looks back only', () => {
    expect(
      run([
        ['a', 'put', 1_000, 200],
        ['a', 'get', 1_000 + FALLBACK_WINDOW_MS, 200],
        ['a', 'get', 1_000.5 + FALLBACK_WINDOW_MS, 200],
        ['a', 'get', 999, 200],
      ]),
    ).toEqual([ISSUED, [], []]);
  });

  it('goes by the last token request, and a use of the token in between changes nothing', () => {
    expect(
      run([
        ['a', 'put', 0, 200],
        ['a', 'token-get', 1, 200],
        ['a', 'get', 2, 200],
        ['a', 'put', 3, 403],
        ['a', 'get', 4, 200],
      ]),
    ).toEqual([ISSUED, REFUSED]);
  });

  it('is known beside `blocked`', () => {
    expect(
      run([
        ['a', 'put', 0, 500],
        ['a', 'get', 1, 403],
      ]),
    ).toEqual([['blocked', 'fallback_after_token_refused']]);
  });

  it('sees the fallback while the token request is still unanswered', () => {
    const judge = new Judge();
    const put = judge.begin(head(alibaba, { ...tokenRequest('alibaba'), time: 0 }), alibaba, 'a');
    const get = judge.begin(head(alibaba, { time: 500 }), alibaba, 'a');
    expect(judge.finish(get, answer(200), 'a').reasons).toEqual(REFUSED);
    expect(judge.finish(put, undefined, 'a').reasons).toEqual(['no_response']);
  });

  it('takes the outcome of the token request that came before, however late it was known', () => {
    const judge = new Judge();
    const put = judge.begin(head(alibaba, { ...tokenRequest('alibaba'), time: 0 }), alibaba, 'a');
    const get = judge.begin(head(alibaba, { time: 1 }), alibaba, 'a');
    judge.finish(judge.begin(head(alibaba, { ...tokenRequest('alibaba'), time: 2 }), alibaba, 'a'), answer(400), 'a');
    judge.finish(put, answer(200), 'a');
    expect(judge.finish(get, answer(200), 'a').reasons).toEqual(ISSUED);
  });

  it('says nothing of a process that is not known, and nothing of another cloud', () => {
    const aws = endpointOf('aws');
    const judge = new Judge();
    judge.finish(judge.begin(head(aws, tokenRequest('aws')), aws), answer(403));
    expect(judge.finish(judge.begin(head(aws), aws), answer(200)).reasons).toEqual([]);
    judge.finish(judge.begin(head(aws, tokenRequest('aws')), aws, 'a'), answer(403), 'a');
    const probe = judge.begin(head(aws, { target: '/computeMetadata/v1/' }), aws, 'a');
    expect(judge.finish(probe, answer(404), 'a')).toMatchObject({ verdict: 'foreign_probe', reasons: [] });
  });

  it('is bounded: the process that asked longest ago is forgotten first', () => {
    const judge = new Judge({ rememberedProcesses: 2 });
    expect(
      run(
        [
          ['a', 'put', 0, 200],
          ['b', 'put', 1, 200],
          ['a', 'put', 2, 200],
          ['c', 'put', 3, 200],
          ['a', 'get', 4, 200],
          ['b', 'get', 4, 200],
          ['c', 'get', 4, 200],
        ],
        judge,
      ),
    ).toEqual([ISSUED, [], ISSUED]);

    const many = new TokenRequests();
    for (let i = 0; i < 20_000; i++) many.note(`p${i}`, i);
    expect(many.size).toBe(16_384);
    expect(many.before('p19999', 19_999)).toBeDefined();
    expect(many.before('p0', 0)).toBeUndefined();
  });

  it('does not let a request that is older by its time replace a newer one', () => {
    const requests = new TokenRequests();
    const newer = requests.note('a', 10);
    requests.note('a', 5);
    expect(requests.before('a', 11)).toBe(newer);
  });
});
