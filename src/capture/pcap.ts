import { captureError, type TracerError, usageError } from '../errors.js';
import { encodeEndpoints, readNativeError, readText } from './encoding.js';
import { Layout, NativeErrors } from './layout.js';
import { type Handle, type NativeModule, nativeModule } from './native.js';
import { NativeSource } from './source.js';
import type { EndpointAddress } from './types.js';

/** Standard input, in the place of a file's name. */
export const STANDARD_INPUT = '-';

export interface PcapLiveOptions {
  /** Whose packets are captured: 1 to 1023. */
  endpoints: readonly EndpointAddress[];
  /** Network interface, or `any` for all; by default the one that the routes to the endpoints lead through. */
  networkInterface?: string;
}

/** How far a file was read, and what is wrong with it. */
export interface FileProgress {
  /** Of the file as it lies there. */
  bytesRead: number;
  /** Undefined for a pipe. */
  bytesTotal?: number;
  /** In what was read, whosever they are. */
  packets: number;
  /** Of them those with a link type that is not known; set at the end. */
  unreadablePackets: number;
  /** Epoch milliseconds of the first and the last packet; undefined where there is none. */
  firstTime?: number;
  lastTime?: number;
  /** At the end: why not all of it could be read. */
  problem?: string;
}

/** Live capture through libpcap. */
export class PcapSource extends NativeSource {
  constructor(native: NativeModule, handle: Handle) {
    super('pcap', native, handle);
  }

  /** Why nothing is captured at present (the interface is down or gone, and is waited for); undefined if all is well. */
  problem(): string | undefined {
    return readProgress(this.native, this.handle).problem;
  }
}

/** Those who read a file wait for nothing, and each call for records costs as much as some hundred packets. */
const BATCH_BYTES = 512 * 1024;

/** A packet file, read from its beginning to its end. */
export class FileSource extends NativeSource {
  constructor(native: NativeModule, handle: Handle) {
    super('file', native, handle, BATCH_BYTES);
  }

  progress(): FileProgress {
    return readProgress(this.native, this.handle);
  }
}

interface ErrorRow {
  code: TracerError['code'];
  /** This host can't capture, or what was asked for is wrong. */
  kind: typeof captureError;
  remedy?: string;
}

const ERRORS: ReadonlyMap<number, ErrorRow> = new Map<number, ErrorRow>([
  [
    NativeErrors.argument,
    { code: 'IMDS_E_ARGUMENT', kind: usageError, remedy: 'Give 1 to 1023 endpoints with a port.' },
  ],
  [
    NativeErrors.permission,
    {
      code: 'IMDS_E_PERMISSION',
      kind: captureError,
      remedy: 'Run as root, or grant CAP_NET_RAW (setcap, AmbientCapabilities=).',
    },
  ],
  [NativeErrors.system, { code: 'IMDS_E_SYSTEM', kind: captureError, remedy: 'Free memory or file descriptors.' }],
  [
    NativeErrors.interface,
    {
      code: 'IMDS_E_INTERFACE',
      kind: captureError,
      remedy: 'Give one that is up with --interface, or `--interface any`.',
    },
  ],
  [
    NativeErrors.pcap,
    {
      code: 'IMDS_E_PCAP',
      kind: captureError,
      remedy: 'Give another interface with --interface, or `--interface any`.',
    },
  ],
  [
    NativeErrors.file,
    { code: 'IMDS_FILE_UNREADABLE', kind: usageError, remedy: 'Give a pcap or pcapng file, or - for standard input.' },
  ],
  [
    NativeErrors.format,
    { code: 'IMDS_FILE_FORMAT', kind: usageError, remedy: 'Record one with: tcpdump -i any -w FILE tcp port 80' },
  ],
  [
    NativeErrors.linkType,
    {
      code: 'IMDS_E_LINK_TYPE',
      kind: usageError,
      remedy: 'Capture on an interface that carries Ethernet or IP, or on `any`.',
    },
  ],
]);

/**
 * Opens live capture through libpcap. Throws a TracerError with a remedy: exit status 3 where this host can't capture
 * (IMDS_E_PERMISSION, IMDS_E_INTERFACE, IMDS_E_PCAP, …), 2 for wrong arguments.
 */
export function openPcapLive({ endpoints, networkInterface }: PcapLiveOptions): PcapSource {
  const native = nativeModule();
  const error = Buffer.alloc(Layout.error.size);
  const handle = native.openPcapLive(encodeEndpoints(endpoints), endpoints.length, networkInterface ?? null, error);
  if (!handle) throw openError(error, 'libpcap');
  return new PcapSource(native, handle);
}

/**
 * Opens a pcap or pcapng file, plain or compressed (gzip, zstd), or standard input for `-`; resolves when its header was
 * read. Rejects with a TracerError of exit status 2 for what is no packet file or can't be opened.
 */
export async function openPcapFile(options: {
  file: string;
  endpoints: readonly EndpointAddress[];
  /** Tells of connections of which nothing but the exchange matters as a whole, in place of their packets. */
  exchanges?: boolean;
}): Promise<FileSource> {
  const native = nativeModule();
  const { file, endpoints, exchanges = false } = options;
  const error = Buffer.alloc(Layout.error.size);
  const encoded = encodeEndpoints(endpoints);
  const path = file === STANDARD_INPUT ? null : file;
  const handle = await native.openPcapFile(path, 0, encoded, endpoints.length, exchanges ? 1 : 0, error);
  if (!handle) throw openError(error, path === null ? 'standard input' : file);
  return new FileSource(native, handle);
}

function openError(error: Buffer, what: string): TracerError {
  const { code, text } = readNativeError(error);
  const { code: stable, kind, remedy } = ERRORS.get(code) ?? ERRORS.get(NativeErrors.system)!;
  return kind(stable, `${what}: ${text}`, remedy);
}

function readProgress(native: NativeModule, handle: Handle): FileProgress {
  const bytes = Buffer.alloc(Layout.progress.size);
  native.progress(handle, bytes);
  const at = (offset: number): number => Number(bytes.readBigUInt64LE(offset));
  const problem = readText(bytes, Layout.progress.problem);
  const packets = at(Layout.progress.packets);
  return {
    bytesRead: at(Layout.progress.bytesRead),
    ...(at(Layout.progress.bytesTotal) > 0 && { bytesTotal: at(Layout.progress.bytesTotal) }),
    packets,
    unreadablePackets: at(Layout.progress.unreadable),
    ...(packets > 0 && {
      firstTime: at(Layout.progress.firstTime) / 1e6,
      lastTime: at(Layout.progress.lastTime) / 1e6,
    }),
    ...(problem !== '' && { problem }),
  };
}
