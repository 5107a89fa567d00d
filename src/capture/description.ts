/**
 * By its description, as source_ebpf.c writes it: the source sees the processes of its own cgroup namespace, a container's for
 * one, and no others. The description is also what a log keeps of a source.
 */
export const seesNamespaceOnly = (description: string): boolean =>
  description.includes('of this cgroup namespace only');
