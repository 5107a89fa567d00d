import { nativeModule } from './native.js';

/** Something that was tried on this host. */
export interface HostCheck {
  /**
   * `kernel`, `libbpf`, `libpcap`, `btf`, `capability:CAP_…`, `memlock`, `ring_buffer`, `cgroup2`, and each program by its variant
   * (`core` with CO-RE, `plain` without) and hook, as `core:cgroup/connect4`.
   */
  check: string;
  ok: boolean;
  /** For people: what was found, or why not. */
  detail: string;
}

export interface HostProbe {
  checks: readonly HostCheck[];
  /** Whether the eBPF source should open here: with everything (`full`), without argv and ancestors (`plain`), or not. */
  ebpf: 'full' | 'plain' | 'none';
}

const PROBE_BYTES = 64 * 1024;
const HOOKS = ['cgroup/connect4', 'cgroup/connect6', 'cgroup_skb/egress', 'cgroup_skb/ingress'] as const;

/** Tries what the eBPF source needs, each by itself, and leaves nothing behind. Blocks for about a second. */
export function probeHost(): HostProbe {
  const buffer = Buffer.alloc(PROBE_BYTES);
  const length = nativeModule().probe(buffer, buffer.length);
  const lines = buffer.toString('utf8', 0, length).split('\n').filter(Boolean);
  return summarize(lines.map((line) => JSON.parse(line) as HostCheck));
}

function summarize(checks: readonly HostCheck[]): HostProbe {
  const ok = (name: string): boolean => checks.some(({ check, ok }) => check === name && ok);
  const all = (variant: string): boolean => HOOKS.every((hook) => ok(`${variant}:${hook}`));
  const base = ok('ring_buffer') && ok('cgroup2');
  return { checks, ebpf: base && all('core') ? 'full' : base && all('plain') ? 'plain' : 'none' };
}
