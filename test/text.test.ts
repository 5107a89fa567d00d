import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { decodeBytes, decodeLatin1 } from '../src/text.js';

const bytes = (...values: number[]): Buffer => Buffer.from(values);

it.each([
  ['ASCII', Buffer.from('a\nb'), 'a\nb'],
  ['UTF-8', Buffer.from('grüße 你好 😀'), 'grüße 你好 😀'],
  ['a lone byte', bytes(0x61, 0xff, 0x62), 'a\\xffb'],
  ['an overlong slash', bytes(0xc0, 0xaf), '\\xc0\\xaf'],
  ['an overlong of three', bytes(0xe0, 0x80, 0xaf), '\\xe0\\x80\\xaf'],
  ['a surrogate', bytes(0xed, 0xa0, 0x80), '\\xed\\xa0\\x80'],
  ['beyond U+10FFFF', bytes(0xf4, 0x90, 0x80, 0x80), '\\xf4\\x90\\x80\\x80'],
  ['a cut sequence', bytes(0xf0, 0x9f, 0x98), '\\xf0\\x9f\\x98'],
  ['valid around invalid', Buffer.concat([Buffer.from('ü'), bytes(0xfe), Buffer.from('ü')]), 'ü\\xfeü'],
])('decodes %s', (_, input, text) => expect(decodeBytes(input)).toBe(text));

it('takes a latin1 string for bytes', () => expect(decodeLatin1('\xc3\xbc\xff')).toBe('ü\\xff'));

it('keeps every valid sequence and loses no byte, whatever the bytes are', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (array) => {
      const input = Buffer.from(array);
      const text = decodeBytes(input);
      if (isUtf8(input)) expect(text).toBe(input.toString('utf8'));
      else {
        expect(text).not.toContain('\ufffd');
        // Turning the escapes back gives the bytes again, unless the input itself held something that looks like one.
        const back = Buffer.concat(
          text
            .split(/(\\x[0-9a-f]{2})/)
            .map((part, i) => (i % 2 ? bytes(Number.parseInt(part.slice(2), 16)) : Buffer.from(part))),
        );
        if (!/\\x/.test(input.toString('latin1'))) expect(back).toEqual(input);
      }
    }),
    { numRuns: 2_000 },
  );
});
