import { isIPv4, isIPv6 } from 'node:net';

const MAPPED_PREFIX = Buffer.from('00000000000000000000ffff', 'hex');

/**
 * Canonical text of a 16-byte address in network byte order: dotted IPv4 for `::ffff:a.b.c.d`, else IPv6 as RFC 5952
 * (section 4) has it: lower case, no leading zeros, the longest run of two or more zero groups as `::`, the first of equals.
 */
export function formatAddress(bytes: Buffer, at = 0): string {
  if (bytes.compare(MAPPED_PREFIX, 0, 12, at, at + 12) === 0) {
    return `${bytes[at + 12]}.${bytes[at + 13]}.${bytes[at + 14]}.${bytes[at + 15]}`;
  }
  const groups: number[] = [];
  for (let i = 0; i < 8; i++) groups.push(bytes.readUInt16BE(at + 2 * i));
  let start = 0;
  let length = 1;
  for (let i = 0; i < 8; ) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
    i = Math.max(end, i + 1);
  }
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  return length < 2 ? text(groups) : `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

/** Whether 16 bytes are an IPv4 address in the form of an IPv6 one (RFC 4291, section 2.5.5.2). */
export const isMapped = (bytes: Buffer): boolean => bytes.compare(MAPPED_PREFIX, 0, 12, 0, 12) === 0;

/** One text for one address, so that texts can be compared: as formatAddress writes it. Undefined if `text` is none, or has a zone. */
export function canonicalAddress(text: string): string | undefined {
  const bytes = parseAddress(text);
  return bytes === undefined ? undefined : formatAddress(bytes);
}

/** As an address, or a name, stands before a port (RFC 3986, section 3.2.2): `[fd00::1]`, `1.2.3.4`. */
export const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);

/** The 16 bytes of an IPv4 (as `::ffff:a.b.c.d`) or IPv6 address without zone; undefined if `text` is none. */
export function parseAddress(text: string): Buffer | undefined {
  if (isIPv4(text)) return Buffer.from([...MAPPED_PREFIX, ...text.split('.').map(Number)]);
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const hex = (high?: string, low?: string) => ((Number(high) << 8) | Number(low)).toString(16);
  const plain = dotted ? `${dotted[1]}${hex(dotted[2], dotted[3])}:${hex(dotted[4], dotted[5])}` : text;
  const [head = '', tail] = plain.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const bytes = Buffer.alloc(16);
  for (const [i, group] of before.entries()) bytes.writeUInt16BE(group, 2 * i);
  for (const [i, group] of after.entries()) bytes.writeUInt16BE(group, 2 * (8 - after.length + i));
  return bytes;
}
