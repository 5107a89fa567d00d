import { expect, it } from 'vitest';
import { LEVELS } from '../../src/imds/verdict.js';
import { EVERY_EVENT } from './every-event.js';

it('has an event of every verdict, judged as its name says', () => {
  const found = EVERY_EVENT.flatMap(([name, event]) =>
    event.kind === 'request' && !name.startsWith('variant') ? [[name.split(' ')[0], event.judgement.verdict]] : [],
  );
  for (const [name, verdict] of found) expect(verdict).toBe(name);
  expect(new Set(found.map(([, verdict]) => verdict))).toEqual(new Set(Object.keys(LEVELS)));
});
