import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/package-root.js';

const root = packageRoot();

const SOURCES = [
  'capture.c',
  'source_ebpf.c',
  'ebpf_host.c',
  'ebpf_load.c',
  'ebpf_selftest.c',
  'ebpf_probe.c',
  'source_pcap.c',
  'source_file.c',
  'plain_exchange.c',
  'plain_http.c',
  'route.c',
  'socket_diag.c',
  'early_owner.c',
  'patient_read.c',
  'notify.c',
  'file_input.c',
  'pcapng.c',
  'record_queue.c',
  'ring_reader.c',
  'squeeze.c',
  'packet_tap.c',
  'tcp_packet.c',
  'link_layer.c',
  'duplicates.c',
  'objects.S',
].map((name) => join(root, 'native', name));

/** Where the build has left the kernel programs that objects.S takes in. */
const OBJECTS = join(root, 'build/Release/obj.target/imds_capture/geni');

/** Compiles the native module's sources with a main program of this folder into `output`. */
export function compile(main: string, output: string, ...flags: readonly string[]): string {
  return compileWith('gcc', join('test/native', main), output, ...flags);
}

/** The same with another compiler, and a main program named from the checkout's root. */
export function compileWith(compiler: string, main: string, output: string, ...flags: readonly string[]): string {
  if (!existsSync(OBJECTS)) throw new Error(`${OBJECTS} is missing: npm run build:native`);
  execFileSync(compiler, [
    ...['-std=gnu11', '-g', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-pthread'],
    ...[`-I${join(root, 'native')}`, `-I${OBJECTS}`],
    ...flags,
    ...SOURCES,
    join(root, main),
    ...(existsSync('/usr/include/zstd.h') ? ['-DIMDS_HAVE_ZSTD', '-lzstd'] : []),
    ...['-lbpf', '-lelf', '-lz', '-lpcap', '-o', output],
  ]);
  return output;
}
