import { isIPv6 } from 'node:net';
import { bracketed, canonicalAddress } from '../addresses.js';

/**
 * Whether a Host header or an authority names an endpoint. A Host that doesn't is how DNS rebinding and many
 * server-side request forgeries look.
 */
export class HostNames {
  readonly #names: ReadonlySet<string>;
  readonly #address: string;
  readonly #port: string;

  /** `address` is canonical text, the names are in lower case. */
  constructor(address: string, port: number, names: readonly string[]) {
    this.#address = bracketed(address);
    this.#port = String(port);
    this.#names = new Set([this.#address, ...names]);
  }

  /** `authority`: `name`, `name:port`, `1.2.3.4`, `[fd00::1]:80`, in any case. Without a port any port is meant. Linear in its length. */
  has(authority: string): boolean {
    // As nearly all are.
    if (this.#names.has(authority)) return true;
    const match = AUTHORITY.exec(authority.toLowerCase());
    if (!match) return false;
    const [, name, port] = match;
    if (port !== undefined && port !== '' && port !== this.#port) return false;
    // The final dot of a fully qualified name is none of its labels (RFC 1034 3.1).
    const host = name!.endsWith('.') ? name!.slice(0, -1) : name!;
    return this.#names.has(host) || (host.startsWith('[') && this.#names.has(canonical(host)));
  }
}

const AUTHORITY = /^(\[[0-9a-f:.]*\]|[^:[\]]*)(?::(\d*))?$/;

/** `[0:0::1]` → `[::1]`, `[::ffff:1.2.3.4]` → `1.2.3.4`; the text itself where it is no IPv6 address. */
function canonical(host: string): string {
  const address = host.slice(1, -1);
  return isIPv6(address) ? bracketed(canonicalAddress(address)!) : host;
}
