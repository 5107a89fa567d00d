import process from 'node:process';

/**
 * Calls `stop` once at the first SIGINT or SIGTERM, or when `durationMs` is over. A second signal ends the process at
 * once with the status that shells give it. Returns a function that takes the handlers away again.
 */
export function stopOnSignal(stop: () => unknown, durationMs?: number): () => void {
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(signal === 'SIGINT' ? 130 : 143);
    stopping = true;
    stop();
  };
  const timer = durationMs === undefined ? undefined : longTimeout(stop, durationMs);
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return () => {
    timer?.clear();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
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
