import { isUtf8 } from 'node:buffer';

/**
 * Text of untrusted bytes: valid UTF-8 as it is (control characters included), otherwise every byte that is not part
 * of a valid sequence as `\xNN`.
 */
export function decodeBytes(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  let text = '';
  for (let i = 0; i < bytes.length; ) {
    const length = sequenceLength(bytes[i]!);
    const part = bytes.subarray(i, i + length);
    if (length > 0 && part.length === length && isUtf8(part)) {
      text += part.toString('utf8');
      i += length;
    } else {
      text += `\\x${bytes[i]!.toString(16).padStart(2, '0')}`;
      i += 1;
    }
  }
  return text;
}

/** The same for a latin1 string whose code units are bytes, as the wire layer gives them. */
export const decodeLatin1 = (latin1: string): string => decodeBytes(Buffer.from(latin1, 'latin1'));

function sequenceLength(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead < 0xe0) return 2;
  if (lead >= 0xe0 && lead < 0xf0) return 3;
  if (lead >= 0xf0 && lead < 0xf5) return 4;
  return 0;
}
