import { expect, it } from 'vitest';
import { parseSize } from '../src/sizes.js';

it.each([
  ['65536', 65_536],
  ['64K', 65_536],
  ['8MiB', 8_388_608],
  ['16mb', 16_777_216],
  ['1g', 2 ** 30],
])('%s is %d bytes', (text, bytes) => expect(parseSize(text, '--size')).toBe(bytes));

it.each(['', '0', '5x', '-8M', '1.5G', '8 M', '\x1b[31m8M'])('%j is no size', (text) => {
  expect(() => parseSize(text, '--size')).toThrow(
    expect.objectContaining({
      code: 'IMDS_BAD_SIZE',
      exitStatus: 2,
      message: expect.stringMatching(/^--size: "[ -~]*" is no size$/),
    }),
  );
});
