import { ACCESS_KEY_SCAN_BYTES } from './limits.js';

const NAME = Buffer.from('"AccessKeyId"');
const QUOTE = 0x22;
const COLON = 0x3a;
const MIN_LENGTH = 8;
const MAX_LENGTH = 64;
/** `"AccessKeyId":"…"` */
const SHORTEST = NAME.length + 3 + MIN_LENGTH;

const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** `STS.NU…`, `LTAI…`, `ASIA…`, `AKTP…`: letters, digits and dots, so never a secret's or a token's base64. */
const ALLOWED = Uint8Array.from({ length: 256 }, (_, code) =>
  /^[A-Za-z0-9.]$/.test(String.fromCharCode(code)) ? 1 : 0,
);

/**
 * The value of the member "AccessKeyId" of a credential document, in the first bytes of a body `bytes[from..to)`. Copies that
 * value alone: a piece of a longer string would keep the secret beside it in memory.
 */
export function findAccessKeyId(bytes: Buffer, from: number, to: number): string | undefined {
  // Most bodies are a word or two, and a view of the bytes would cost more than reading the head.
  if (to - from < SHORTEST) return undefined;
  const body = bytes.subarray(from, Math.min(to, from + ACCESS_KEY_SCAN_BYTES));
  let at = body.indexOf(NAME);
  if (at < 0) return undefined;
  at += NAME.length;
  while (isSpace(body[at])) at++;
  if (body[at++] !== COLON) return undefined;
  while (isSpace(body[at])) at++;
  if (body[at++] !== QUOTE) return undefined;
  const start = at;
  while (at < body.length && at - start <= MAX_LENGTH && ALLOWED[body[at]!] === 1) at++;
  const length = at - start;
  if (body[at] !== QUOTE || length < MIN_LENGTH || length > MAX_LENGTH) return undefined;
  return body.toString('latin1', start, at);
}
