import { isIPv4 } from 'node:net';
import { endianness } from 'node:os';
import { canonicalAddress, isMapped, parseAddress } from '../addresses.js';
import type { ProcReader } from './proc.js';
import type { SocketAddresses, SocketAnswer } from './types.js';

/** A namespace is asked through this many of its processes, as any may exit meanwhile. */
const MAX_REPRESENTATIVES = 4;

/**
 * Looks for a connection's socket in /proc/PID/net/tcp{,6} of a network namespace that has the processes `pids`. It costs
 * milliseconds, for the kernel walks the whole host's hash table: for where sock_diag(7) is refused. 'late' when `deadline`
 * (ms of the monotonic clock) came first, undefined when none of the processes shows the table.
 */
export function findInTables(
  proc: ProcReader,
  pids: readonly number[],
  addresses: SocketAddresses,
  deadline: number,
): SocketAnswer | 'late' | undefined {
  const ends = new TableSearch(proc, pids.slice(0, MAX_REPRESENTATIVES), deadline);
  let wasRead = false;
  for (const { file, needle } of socketTables(addresses)) {
    const { inode, read } = ends.inode(file, needle);
    if (inode !== undefined) return { state: 'open', inode, cookie: 0n };
    wasRead ||= read;
  }
  if (performance.now() > deadline) return 'late';
  if (!wasRead) return undefined;
  return { state: ends.hasAddress(unmapped(addresses.localAddress)) ? 'gone' : 'elsewhere' };
}

class TableSearch {
  constructor(
    private readonly proc: ProcReader,
    private readonly pids: readonly number[],
    private readonly deadline: number,
  ) {}

  /**
   * The inode of the socket in a namespace's table: none if there is no such socket or only a closed one (inode 0).
   * `read`: the table could be read.
   */
  inode(file: string, needle: Buffer): { inode: number | undefined; read: boolean } {
    let inode: number | undefined;
    const read = this.#read(file, (piece) => {
      inode = findInode(piece, needle);
      return inode !== undefined;
    });
    return { inode, read };
  }

  /** Whether the namespace has an address, by its table of local routes. */
  hasAddress(address: string): boolean {
    const [file, isLocal] = isIPv4(address)
      ? (['fib_trie', isLocalRoute] as const)
      : (['if_inet6', isInterfaceAddress] as const);
    let found = false;
    this.#read(file, (piece) => {
      found ||= isLocal(piece, address);
      return found;
    });
    return found;
  }

  #read(file: string, visit: (piece: Buffer) => boolean): boolean {
    return this.pids.some((pid) =>
      this.proc.lines(`${pid}/net/${file}`, (piece) => visit(piece) || performance.now() > this.deadline),
    );
  }
}

/**
 * Where a connection stands in /proc/PID/net and how: `ADDRESS:PORT ADDRESS:PORT`, hexadecimal, an address as 32-bit
 * words in the host's byte order (tcp4_seq_show and tcp6_seq_show of the kernel). An IPv4 connection may belong to an
 * IPv6 socket, by its mapped address.
 */
export function socketTables(addresses: SocketAddresses): { file: string; needle: Buffer }[] {
  const local = addressBytes(addresses.localAddress);
  const remote = addressBytes(addresses.remoteAddress);
  if (local === undefined || remote === undefined) return [];
  const needle = (from: number): Buffer =>
    Buffer.from(
      ` ${hexWords(local.subarray(from))}:${hexPort(addresses.localPort)} ` +
        `${hexWords(remote.subarray(from))}:${hexPort(addresses.remotePort)} `,
      'latin1',
    );
  const v6 = { file: 'tcp6', needle: needle(0) };
  const mapped = isMapped(local) && isMapped(remote);
  return mapped ? [{ file: 'tcp', needle: needle(12) }, v6] : [v6];
}

/** The inode in the line of a socket table that holds `needle`; lines of sockets in TIME_WAIT have none (0). */
export function findInode(table: Buffer, needle: Buffer): number | undefined {
  for (let at = table.indexOf(needle); at >= 0; at = table.indexOf(needle, at + needle.length)) {
    const end = table.indexOf(0x0a, at);
    const rest = table.toString('latin1', at + needle.length, end < 0 ? table.length : end);
    // st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
    const inode = Number(rest.trim().split(/ +/, 7)[6]);
    if (Number.isSafeInteger(inode) && inode > 0) return inode;
  }
  return undefined;
}

/** /proc/net/fib_trie names a local address in two lines: `|-- ADDRESS` and, indented, `/32 host LOCAL`. */
function isLocalRoute(piece: Buffer, address: string): boolean {
  if (address.startsWith('127.')) return true;
  const name = `-- ${address}\n`;
  for (let at = piece.indexOf(name); at >= 0; at = piece.indexOf(name, at + name.length)) {
    const entry = piece.toString('latin1', at + name.length, at + name.length + 256);
    if (/^(?: +\/\d+ [^\n]*\n)*? +\/32 host LOCAL/.test(entry)) return true;
  }
  return false;
}

/** /proc/net/if_inet6 begins each line with an address as 32 hexadecimal digits. */
const isInterfaceAddress = (piece: Buffer, address: string): boolean => {
  const bytes = addressBytes(address);
  return bytes !== undefined && piece.includes(`${bytes.toString('hex')} `);
};

/** The 16 bytes of an address, whose zone the tables don't have; undefined for what is none. */
const addressBytes = (text: string): Buffer | undefined => parseAddress(text.split('%', 1)[0]!);

/** IPv4 text for an IPv4-mapped address, other text as it is. */
export const unmapped = (text: string): string => canonicalAddress(text) ?? text;

const LITTLE_ENDIAN = endianness() === 'LE';

function hexWords(bytes: Buffer): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 4) {
    const word = LITTLE_ENDIAN ? bytes.readUInt32LE(i) : bytes.readUInt32BE(i);
    text += word.toString(16).toUpperCase().padStart(8, '0');
  }
  return text;
}

const hexPort = (port: number): string => port.toString(16).toUpperCase().padStart(4, '0');
