import { opendirSync, readdirSync, readFileSync } from 'node:fs';

/** Clock ticks a second that /proc counts in: USER_HZ, 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Fields of proc_pid_stat(5) by their number there. */
function statField(pid: number | 'self', number: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The second field is a name in parentheses that may hold anything.
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[number - 3]);
}

/** User and system time of a process with all its threads, in seconds, to 10 ms. */
export const cpuSeconds = (pid: number): number => (statField(pid, 14) + statField(pid, 15)) / TICKS_PER_SECOND;

/** The same of all children of this process that have ended, and theirs. */
export const endedChildrenCpuSeconds = (): number => (statField('self', 16) + statField('self', 17)) / TICKS_PER_SECOND;

/** Resident memory now and at its peak, in MiB. */
export function memoryMiB(pid: number): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024;
  return { now: of('VmRSS'), peak: of('VmHWM') };
}

export interface ThreadTime {
  id: number;
  name: string;
  nanoseconds: number;
}

/** What the threads of a process have run so far (sched-stats.rst of the kernel), in the order in which they were made. */
export function threadTimes(pid: number): ThreadTime[] {
  const threads: ThreadTime[] = [];
  // The kernel lists them in that order; readdirSync would sort them by name, and numbers are used again.
  const folder = opendirSync(`/proc/${pid}/task`);
  for (let entry = folder.readSync(); entry !== null; entry = folder.readSync()) {
    const of = (file: string): string => readIfThere(`/proc/${pid}/task/${entry!.name}/${file}`);
    threads.push({
      id: Number(entry.name),
      name: of('comm').trim(),
      nanoseconds: Number(of('schedstat').split(' ')[0]),
    });
  }
  folder.closeSync();
  return threads;
}

export interface ProgramRuns {
  nanoseconds: number;
  count: number;
}

/** BPF_PROG_TYPE_CGROUP_SKB of linux/bpf.h. */
const CGROUP_SKB = 8;

/** What the packet programs that a process holds have run so far, while something had the kernel measure it. */
export function packetProgramRuns(pid: number): ProgramRuns {
  const packets = heldPrograms(pid).filter(({ type }) => type === CGROUP_SKB);
  return {
    nanoseconds: packets.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0),
    count: packets.reduce((sum, { count }) => sum + count, 0),
  };
}

/** The same of all its programs, in time. */
export const programNanoseconds = (pid: number): number =>
  heldPrograms(pid).reduce((sum, { nanoseconds }) => sum + nanoseconds, 0);

interface HeldProgram extends ProgramRuns {
  type: number;
}

function heldPrograms(pid: number): HeldProgram[] {
  const programs = new Map<number, HeldProgram>();
  const folder = `/proc/${pid}/fdinfo`;
  for (const fd of readdirSync(folder)) {
    const info = readIfThere(`${folder}/${fd}`);
    const of = (name: string): number => Number(new RegExp(`^${name}:\\s*(\\d+)$`, 'm').exec(info)?.[1]);
    if (Number.isNaN(of('prog_type'))) continue;
    programs.set(of('prog_id'), { type: of('prog_type'), nanoseconds: of('run_time_ns'), count: of('run_cnt') });
  }
  return [...programs.values()];
}

/** A descriptor may have been closed since the folder was read. */
function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
