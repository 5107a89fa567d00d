import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';

/**
 * The kernel shows times to user space in units of USER_HZ, which is 100 a second on every architecture that Node runs
 * on (include/asm-generic/param.h), whatever HZ the kernel was built with.
 */
const NS_PER_TICK = 10_000_000n;
const MS_PER_TICK = 10;

/** The same rounding as the kernel's for field 22 of /proc/PID/stat: `nsec_to_clock_t` cuts off. */
export const ticksOfBootNs = (startBootNs: bigint): number => Number(startBootNs / NS_PER_TICK);

/** Turns times since boot into wall-clock times. */
export class BootClock {
  #bootMs = 0;
  #skew = Number.NaN;

  constructor(private readonly procRoot: string) {}

  /**
   * Epoch milliseconds of a time since boot in clock ticks. Within a run a process always gets the same time, as the
   * boot's is taken anew only when the wall clock was set or the machine slept (the two then part from the monotonic clock).
   */
  epochMs(ticks: number): number {
    const skew = Date.now() - performance.now();
    if (!(Math.abs(skew - this.#skew) < 1000)) {
      this.#skew = skew;
      this.#bootMs = this.#readBoot();
    }
    return this.#bootMs + ticks * MS_PER_TICK;
  }

  #readBoot(): number {
    let seconds: number;
    try {
      seconds = Number.parseFloat(readFileSync(`${this.procRoot}/uptime`, 'latin1'));
    } catch {
      seconds = uptime();
    }
    if (!Number.isFinite(seconds)) seconds = uptime();
    // /proc/uptime is cut to hundredths of a second: half of one is the middle of what it may mean.
    return Math.round(Date.now() - seconds * 1000 - MS_PER_TICK / 2);
  }
}
