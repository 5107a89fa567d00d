import { expect, it } from 'vitest';
import { LearnedSecrets } from '../../src/output/learned.js';
import { redactEvent, type ShownRequest } from '../../src/output/redact.js';
import { requestEvent, requestHead } from './events.js';

const TOKEN = 'AQAAAFd3c0oO7mZk1vX9rT5sQ0dE';

function userAgent(value: string, learned: LearnedSecrets, token?: string): string | undefined {
  const headers = [{ name: 'User-Agent', value }];
  if (token !== undefined) headers.push({ name: 'X-aliyun-ecs-metadata-token', value: token });
  const event = requestEvent({ request: { ...requestHead(), headers } });
  return (redactEvent(event, learned) as ShownRequest).request?.userAgent;
}

it('what was shown before it was known for a secret is not shown again', () => {
  const learned = new LearnedSecrets();
  expect(userAgent(TOKEN, learned)).toBe(TOKEN);
  expect(userAgent(TOKEN, learned)).toBe(TOKEN);
  expect(userAgent('curl/8.5.0', learned, TOKEN)).toBe('curl/8.5.0');
  expect(userAgent(TOKEN, learned)).toBe('[redacted]');
  expect(userAgent(TOKEN, new LearnedSecrets())).toBe(TOKEN);
  expect(userAgent(TOKEN, learned)).toBe('[redacted]');
});

it('bytes that are no text are shown alike each time', () => {
  const learned = new LearnedSecrets();
  const shown = userAgent('a\xffb', learned);
  expect(shown).toBe('a\\xffb');
  expect(userAgent('a\xffb', learned)).toBe(shown);
  expect(userAgent('a\\xffb', learned)).toBe(shown);
});
