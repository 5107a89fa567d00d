import { isUtf8 } from 'node:buffer';

/** A byte that is no text, as `\\xNN`. */
const ESCAPED_BYTES: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => `\\x${byte.toString(16).padStart(2, '0')}`,
);

/**
 * Text of untrusted bytes: valid UTF-8 as it is (control characters included), otherwise every byte that is not part
 * of a valid sequence as `\xNN`. Linear, however the valid and the invalid alternate.
 */
export function decodeBytes(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  let text = '';
  let validFrom = 0;
  for (let i = 0; i < bytes.length; ) {
    const length = sequenceLength(bytes, i);
    if (length > 0) {
      i += length;
      continue;
    }
    if (validFrom < i) text += bytes.toString('utf8', validFrom, i);
    text += ESCAPED_BYTES[bytes[i]!]!;
    i += 1;
    validFrom = i;
  }
  return validFrom < bytes.length ? text + bytes.toString('utf8', validFrom) : text;
}

/** The same for a latin1 string whose code units are bytes, as the wire layer gives them. */
export const decodeLatin1 = (latin1: string): string => decodeBytes(Buffer.from(latin1, 'latin1'));

/** Length of the UTF-8 sequence at `i`, 0 where there is none: the table of RFC 3629 section 4. */
function sequenceLength(bytes: Buffer, i: number): number {
  const lead = bytes[i]!;
  if (lead < 0x80) return 1;
  const second = bytes[i + 1] ?? 0;
  if (lead < 0xc2 || lead > 0xf4 || !isContinuation(second)) return 0;
  if (lead < 0xe0) return 2;
  if (!isContinuation(bytes[i + 2] ?? 0)) return 0;
  if (lead < 0xf0) return (lead === 0xe0 && second < 0xa0) || (lead === 0xed && second > 0x9f) ? 0 : 3;
  if (!isContinuation(bytes[i + 3] ?? 0)) return 0;
  return (lead === 0xf0 && second < 0x90) || (lead === 0xf4 && second > 0x8f) ? 0 : 4;
}

const isContinuation = (byte: number): boolean => (byte & 0xc0) === 0x80;
