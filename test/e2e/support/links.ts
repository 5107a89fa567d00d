import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runOk } from './run.js';
import { until } from './wait.js';

const SCRIPT = fileURLToPath(new URL('./bpf_links.py', import.meta.url));

/** Ids of all BPF links of the machine: what is attached somewhere. */
export async function allLinks(): Promise<number[]> {
  return JSON.parse((await runOk(['python3', SCRIPT])).stdout) as number[];
}

/** Ids of the BPF links that a process holds open (proc_pid_fdinfo(5)). */
export function linksOf(pid: number | string): number[] {
  try {
    return readdirSync(`/proc/${pid}/fdinfo`).flatMap((fd) => {
      const id = /^link_id:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1'))?.[1];
      return id === undefined ? [] : [Number(id)];
    });
  } catch {
    return []; // gone, or its files are
  }
}

/** Rejects where a link stays that no process holds: attached, with nobody to answer for it. */
export async function expectNoOrphanedLink(): Promise<void> {
  let orphans: number[] = [];
  await until(
    () => `a process that holds the BPF links ${orphans}, or their end`,
    async () => {
      const before = await allLinks();
      const held = new Set(
        readdirSync('/proc')
          .filter((name) => /^\d+$/.test(name))
          .flatMap(linksOf),
      );
      orphans = before.filter((link) => !held.has(link));
      return orphans.length === 0; // those of a process that ended just now go in a moment
    },
  );
}
