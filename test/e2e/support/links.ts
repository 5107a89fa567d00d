import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runOk } from './run.js';

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

/** Links that no process holds: they stay attached with nobody to answer for them. */
export async function orphanedLinks(): Promise<number[]> {
  const links = await allLinks();
  const held = new Set(
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap(linksOf),
  );
  // A process that ended between the two looks took its links with it.
  const still = new Set(await allLinks());
  return links.filter((link) => !held.has(link) && still.has(link));
}
