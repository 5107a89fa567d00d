import { expect, test } from 'vitest';
import { Account } from './account.js';

const line = (
  n: number,
  { address = '198.19.0.80', pid = 7, said = 7, status = 200, verdict = n % 2 ? 'hardened' : 'normal_mode' } = {},
) =>
  JSON.stringify({
    event: { action: 'imds-request' },
    destination: { ip: address, port: 80 },
    ...(status !== 0 && { http: { response: { status_code: status } } }),
    url: { original: `/latest/instance_id?n=${n}&pid=${said}` },
    process: { pid, name: 'clients' },
    imds: { verdict },
  });

test('every request once is right', () => {
  const account = new Account(9);
  for (let n = 8; n >= 0; n--) account.add(line(n), '198.19.0.80', '80');
  expect(account).toMatchObject({ isRight: true, missing: 0, events: 9 });
});

test.each([
  ['missing', [line(0)], { missing: 1 }],
  ['a duplicate', [line(0), line(1), line(1)], { duplicates: 1 }],
  ['another process', [line(0), line(1, { said: 8 })], { wrongProcess: 1 }],
  ['another verdict', [line(0), line(1, { verdict: 'normal_mode' })], { wrongVerdict: 1 }],
  ['another status', [line(0), line(1, { status: 401 })], { wrongVerdict: 1 }],
  ['elsewhere', [line(0), line(1, { address: '100.100.100.200' })], { foreign: 1, missing: 1 }],
  ['a number that was not sent', [line(0), line(2)], { foreign: 1, missing: 1 }],
])('%s is found', (_, lines, found) => {
  const account = new Account(2);
  for (const each of lines) account.add(each, '198.19.0.80', '80');
  expect(account).toMatchObject({ isRight: false, ...found });
});

test('an answer that is late is told apart', () => {
  const account = new Account(1);
  account.add(line(0, { status: 0 }), '198.19.0.80', '80');
  expect(account).toMatchObject({ isRight: true, late: 1 });
});
