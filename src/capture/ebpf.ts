import { captureError, type TracerError, usageError } from '../errors.js';
import { encodeEndpoints, readNativeError } from './encoding.js';
import { Layout, NativeErrors } from './layout.js';
import { nativeModule } from './native.js';
import { defaultRingBytes } from './ring-size.js';
import { NativeSource } from './source.js';
import type { CaptureSource, EndpointAddress } from './types.js';

export interface EbpfOptions {
  /** Whose connections are captured: 1 to 1023. */
  endpoints: readonly EndpointAddress[];
  /** Size of the ring buffer between kernel and tracer: a power of two, at least a page (4096). */
  ringBytes?: number;
}

const ERRORS: ReadonlyMap<number, { code: TracerError['code']; remedy: string }> = new Map([
  [
    NativeErrors.argument,
    {
      code: 'IMDS_E_ARGUMENT',
      remedy: 'Give 1 to 1023 endpoints with a port, and a ring size that is a power of two.',
    },
  ],
  [
    NativeErrors.permission,
    {
      code: 'IMDS_E_PERMISSION',
      remedy:
        'Run as root, or grant CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (CAP_SYS_ADMIN before Linux 5.8); or start with --source pcap.',
    },
  ],
  [
    NativeErrors.noBpf,
    { code: 'IMDS_E_NO_BPF', remedy: 'Use Linux 5.8 or later with BPF, or start with --source pcap.' },
  ],
  [
    NativeErrors.noCgroup2,
    {
      code: 'IMDS_E_NO_CGROUP2',
      remedy: 'Use a kernel with cgroup v2 (CONFIG_CGROUPS, CONFIG_CGROUP_BPF), or start with --source pcap.',
    },
  ],
  [
    NativeErrors.verifier,
    {
      code: 'IMDS_E_VERIFIER',
      remedy: 'Report this with the text and the kernel version; until then start with --source pcap.',
    },
  ],
  [
    NativeErrors.attach,
    {
      code: 'IMDS_E_ATTACH',
      remedy: 'Look with `bpftool cgroup tree` for a program that tolerates no other, or start with --source pcap.',
    },
  ],
  [
    NativeErrors.selfTest,
    {
      code: 'IMDS_E_SELF_TEST',
      remedy:
        'Let TCP connections over 127.0.0.1 pass (loopback up, no rule against them), or start with --source pcap.',
    },
  ],
  [
    NativeErrors.memlock,
    { code: 'IMDS_E_MEMLOCK', remedy: 'Raise the limit: `ulimit -l unlimited`, or LimitMEMLOCK=infinity in the unit.' },
  ],
  [
    NativeErrors.system,
    { code: 'IMDS_E_SYSTEM', remedy: 'Free memory or file descriptors, or make the ring smaller.' },
  ],
]);

/**
 * Loads, attaches and tests the eBPF source; blocks for a few hundred milliseconds. Throws a capture error whose code is
 * IMDS_E_… (above; IMDS_E_LIBRARY and IMDS_E_ABI for the native module itself) with a remedy, or a usage error for wrong options,
 * and leaves nothing attached.
 */
export function openEbpf({ endpoints, ringBytes = defaultRingBytes() }: EbpfOptions): CaptureSource {
  const native = nativeModule();
  const error = Buffer.alloc(Layout.error.size);
  const handle = native.openEbpf(encodeEndpoints(endpoints), endpoints.length, ringBytes, error);
  if (!handle) throw openError(error);
  return new NativeSource('ebpf', native, handle);
}

function openError(error: Buffer): TracerError {
  const { code, text } = readNativeError(error);
  const known = ERRORS.get(code) ?? ERRORS.get(NativeErrors.system)!;
  // What was asked for is wrong, whatever this host can do.
  const kind = code === NativeErrors.argument ? usageError : captureError;
  return kind(known.code, `eBPF: ${text}`, known.remedy);
}
