import { ProcReader, parseStat } from './proc.js';

/**
 * Start of a process that still runs, in clock ticks since boot, which with the pid names it. Undefined where there is none, or only its
 * zombie: one that was killed keeps its pid and its start time for as long as its parent does not ask for it, in a container perhaps for ever.
 */
export function startOfLiving(pid: number): number | undefined {
  const text = new ProcReader('/proc').read(`${pid}/stat`, 4096);
  // Field 3 of proc_pid_stat(5), behind the name in parentheses, which may hold parentheses itself.
  return text === undefined || /^[ZXx]/.test(text.slice(text.lastIndexOf(')') + 2))
    ? undefined
    : parseStat(text)?.startTicks;
}
