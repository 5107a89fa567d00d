import { randomBytes } from 'node:crypto';

/** More than any test holds at once; beyond it the oldest token stops being valid. */
const MAX_TOKENS = 10_000;

/** Lengths whose base64 ends in `==`, in `=` and in neither: observers must not lean on the padding. */
const TOKEN_BYTES = [40, 41, 42] as const;

/** The tokens that an emulated service has issued. Times in milliseconds. */
export class TokenStore {
  readonly #expiry = new Map<string, number>();
  #issued = 0;

  issue(ttlSeconds: number, now: number): string {
    const token = randomBytes(TOKEN_BYTES[this.#issued % TOKEN_BYTES.length]!).toString('base64');
    this.#issued += 1;
    this.#expiry.set(token, now + ttlSeconds * 1000);
    if (this.#expiry.size > MAX_TOKENS) this.#expiry.delete(this.#expiry.keys().next().value!);
    return token;
  }

  isValid(token: string, now: number): boolean {
    return (this.#expiry.get(token) ?? 0) > now;
  }
}
