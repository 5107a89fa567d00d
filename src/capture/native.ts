import { statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import koffi, { type LibraryHandle } from 'koffi';
import { captureError } from '../errors.js';
import { packageRoot } from '../package-root.js';
import { ABI_VERSION } from './layout.js';

/** A source of the native module; only passed back to it. */
export type Handle = unknown;

/** The functions of native/capture.h, which says what they take, return and promise. */
export interface NativeModule {
  layout(): string;
  openEbpf(endpoints: Buffer, count: number, ringBytes: number, error: Buffer): Handle | null;
  openPcapLive(endpoints: Buffer, count: number, networkInterface: string | null, error: Buffer): Handle | null;
  /** Runs on a worker thread. The caller keeps the buffers referenced until it settles. */
  openPcapFile(
    path: string | null,
    fd: number,
    endpoints: Buffer,
    count: number,
    exchanges: number,
    error: Buffer,
  ): Promise<Handle | null>;
  setEndpoints(source: Handle, endpoints: Buffer, count: number, error: Buffer): number;
  description(source: Handle): string;
  /** Runs on a worker thread. The caller keeps `buffer` referenced until it settles. */
  next(source: Handle, buffer: Buffer, capacity: number, timeoutMs: number): Promise<number>;
  wake(source: Handle): void;
  stats(source: Handle, stats: Buffer): void;
  progress(source: Handle, progress: Buffer): void;
  stop(source: Handle): void;
  close(source: Handle): void;
  probe(buffer: Buffer, capacity: number): number;
  netnsOpen(path: string, netns: Buffer): number;
  netnsFindSocket(netns: Buffer, query: Buffer, socket: Buffer): number;
  netnsClose(netns: Buffer): void;
  ownerTake(query: Buffer, owner: Buffer): number;
  readProc(path: string, to: Buffer, capacity: number, waitMs: number): number;
  /** The same on a worker thread. The caller keeps `to` referenced until it settles. */
  readProcLater(path: string, to: Buffer, capacity: number, waitMs: number): Promise<number>;
  notify(address: string, text: string): number;
}

const LIBRARY = 'build/Release/imds_capture.so';
const REBUILD = 'Build it: npm run setup';

let loaded: NativeModule | undefined;

/** The native module, loaded at the first call. IMDS_E_LIBRARY where it is missing or can't be loaded, IMDS_E_ABI where it is of another version. */
export function nativeModule(): NativeModule {
  loaded ??= load(join(packageRoot(), LIBRARY));
  return loaded;
}

/**
 * Not by access(2), as existsSync asks: it leaves out the capabilities of a user other than root (access(2), man page),
 * and a service that reads by CAP_DAC_READ_SEARCH would be told that its own library is missing.
 */
const isThere = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;

/** Exported for tests: loads the library at `path`. */
export function load(path: string): NativeModule {
  if (!isThere(path)) throw captureError('IMDS_E_LIBRARY', `The native module is missing: ${path}`, REBUILD);
  const library = open(path);
  const version: number = library.func('uint32_t imds_abi_version()')();
  if (version !== ABI_VERSION) {
    throw captureError('IMDS_E_ABI', `The native module ${path} has ABI ${version}, not ${ABI_VERSION}`, REBUILD);
  }
  const next = library.func('int64_t imds_next(void *source, void *buffer, uint32_t capacity, int32_t timeout_ms)');
  const openPcapFile = library.func(
    'void *imds_open_pcap_file(const char *path, int32_t fd, void *endpoints, uint32_t count, int32_t exchanges, void *error)',
  );
  const readProc = library.func(
    'int32_t imds_read_proc(const char *path, void *to, uint32_t capacity, int32_t wait_ms)',
  );
  return {
    layout: library.func('const char *imds_layout()'),
    openEbpf: library.func('void *imds_open_ebpf(void *endpoints, uint32_t count, uint32_t ring_bytes, void *error)'),
    openPcapLive: library.func(
      'void *imds_open_pcap_live(void *endpoints, uint32_t count, const char *interface, void *error)',
    ),
    openPcapFile: promisify(openPcapFile.async) as NativeModule['openPcapFile'],
    setEndpoints: library.func(
      'int32_t imds_set_endpoints(void *source, void *endpoints, uint32_t count, void *error)',
    ),
    description: library.func('const char *imds_description(void *source)'),
    next: promisify(next.async) as NativeModule['next'],
    wake: library.func('void imds_wake(void *source)'),
    stats: library.func('void imds_stats(void *source, void *stats)'),
    progress: library.func('void imds_progress(void *source, void *progress)'),
    stop: library.func('void imds_stop(void *source)'),
    close: library.func('void imds_close(void *source)'),
    probe: library.func('uint32_t imds_probe(void *buffer, uint32_t capacity)'),
    netnsOpen: library.func('int32_t imds_netns_open(const char *path, void *netns)'),
    netnsFindSocket: library.func('int32_t imds_netns_find_socket(void *netns, void *query, void *socket)'),
    netnsClose: library.func('void imds_netns_close(void *netns)'),
    ownerTake: library.func('int32_t imds_owner_take(void *query, void *owner)'),
    readProc,
    readProcLater: promisify(readProc.async) as NativeModule['readProcLater'],
    notify: library.func('int32_t imds_notify(const char *address, const char *text)'),
  };
}

function open(path: string): LibraryHandle {
  try {
    return koffi.load(path);
  } catch (error) {
    throw captureError('IMDS_E_LIBRARY', `The native module can't be loaded: ${(error as Error).message}`, REBUILD);
  }
}
