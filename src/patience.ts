/** How often it is looked whether something moves, in milliseconds. */
const LOOK_MS = 100;

export interface Patience {
  /** Any number that changes while something moves. */
  progress: () => number;
  /** It is waited no longer than this while nothing moves, and than this in all; in milliseconds. */
  stillMs: number;
  inAllMs: number;
}

/**
 * Resolves when `done` does, or when patience is over. Time is counted in looks that took place, not by the clock: after a
 * pause of the whole machine (a suspended or migrated instance) what was under way gets its time first. The waiting does not
 * keep the process from ending by itself. Never rejects.
 */
export function waitWithPatience(done: Promise<unknown>, { progress, stillMs, inAllMs }: Patience): Promise<void> {
  return new Promise((resolve) => {
    let before = progress();
    let still = 0;
    let all = 0;
    const end = (): void => {
      clearInterval(timer);
      resolve();
    };
    const timer = setInterval(() => {
      const now = progress();
      still = now === before ? still + LOOK_MS : 0;
      all += LOOK_MS;
      before = now;
      if (still >= stillMs || all >= inAllMs) end();
    }, LOOK_MS).unref();
    done.then(end, end);
  });
}
