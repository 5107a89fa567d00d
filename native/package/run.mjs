// Runs the programs that packages are made with.
import { spawnSync } from 'node:child_process';

/**
 * Runs a program to its end and gives its standard output; its standard error goes to ours.
 * @throws Error where it can't be started or fails
 */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 64 << 20,
    ...options,
  });
  if (result.error) throw new Error(`${command} could not be started: ${result.error.message}`);
  if (result.status !== 0) {
    throw new Error(`${command} ${args.join(' ')} failed with ${result.status ?? result.signal}:\n${result.stdout}`);
  }
  return result.stdout;
}
