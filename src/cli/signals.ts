import process from 'node:process';

export interface StopRequest {
  /** Somebody asked for the end, or the time is over. */
  readonly requested: boolean;
  /** Asks for the end itself after so many milliseconds; the last call counts. */
  after(ms: number): void;
  /** Takes the handlers and the timer away. */
  release(): void;
}

/**
 * Calls `stop` once at the first SIGINT or SIGTERM. A second signal ends the process at once with the status that shells
 * give it. To be called before anything is started that must be taken down again.
 */
export function stopOnSignal(stop: () => unknown): StopRequest {
  let requested = false;
  let timer: { clear(): void } | undefined;
  const request = (): void => {
    if (requested) return;
    requested = true;
    stop();
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    if (requested) process.exit(signal === 'SIGINT' ? 130 : 143);
    request();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    get requested() {
      return requested;
    },
    after: (ms) => {
      timer?.clear();
      timer = longTimeout(request, ms);
    },
    release: () => {
      timer?.clear();
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}

/** setTimeout counts at most 2^31-1 ms, 24.8 days; an audit may take longer. */
function longTimeout(callback: () => void, ms: number): { clear(): void } {
  const longest = 2 ** 31 - 1;
  let left = ms;
  let timer: NodeJS.Timeout;
  const arm = (): void => {
    const step = Math.min(left, longest);
    left -= step;
    timer = setTimeout(left > 0 ? arm : callback, step);
  };
  arm();
  return { clear: () => clearTimeout(timer) };
}
