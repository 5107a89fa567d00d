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
    this.#address = address.includes(':') ? `[${address}]` : address;
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
function canonical(bracketed: string): string {
  if (!URL.canParse(`http://${bracketed}/`)) return bracketed;
  const host = new URL(`http://${bracketed}/`).hostname;
  const mapped = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(host);
  if (!mapped) return host;
  const [high, low] = [Number.parseInt(mapped[1]!, 16), Number.parseInt(mapped[2]!, 16)];
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}
