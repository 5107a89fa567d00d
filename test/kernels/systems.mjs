/**
 * What the tests are run on. `suite` is the Debian suite of a kernel that is booted in a virtual machine; without one, it is
 * this machine as it is. `cgroup` and `btf` say what of the kernel's offers the machine is given.
 */
export const SYSTEMS = {
  host: {},
  6.12: { suite: 'bookworm-backports' },
  6.1: { suite: 'bookworm' },
  '5.10': { suite: 'bullseye' },
  /** The controllers of cgroup v1 and no v2 tree, net_cls and net_prio among them, as on Alibaba Cloud Linux 3. */
  'cgroup-v1': { suite: 'bullseye', cgroup: 'v1' },
  /** An empty file system over /sys/kernel/btf. */
  'no-btf': { suite: 'bookworm', btf: false },
};
