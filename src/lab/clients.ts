import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { inNamespace, toolPath } from './netns.js';
import { SERVICE_RULES } from './rules.js';
import { curlCommand, SAMPLES, type Sample } from './samples.js';
import { type LabEndpoint, originOf } from './service.js';
import { builtScript } from './service-process.js';

/** What became of one run of a sample client. */
export interface ClientRun {
  sample: string;
  does: string;
  endpoint: LabEndpoint;
  /** Of the client itself, as it appears in events. */
  pid: number | undefined;
  /** The command, without `ip netns exec …`. */
  argv: readonly string[];
  /** Exit status; null when it was killed. curl and Node's client give 22 for an answer that is a refusal, where they look. */
  status: number | null;
}

/** Three requests of five seconds, and the start of a process on a busy machine. */
const CLIENT_TIMEOUT_MS = 20_000;

/**
 * Runs every sample client against every endpoint, one after the other, as processes in the client namespace, by curl
 * where it is installed and can do it, else by Node. Nothing of what they are answered is shown or kept.
 * @param signal ends the run early and kills the client that is running.
 */
export async function runSamples(
  clientNamespace: string,
  endpoints: readonly LabEndpoint[],
  signal: AbortSignal,
): Promise<ClientRun[]> {
  const curl = isInstalled('curl');
  const runs: ClientRun[] = [];
  for (const endpoint of endpoints) {
    for (const sample of SAMPLES) {
      if (signal.aborted) return runs;
      const argv = commandOf(sample, endpoint, curl);
      const { pid, status } = await runClient(clientNamespace, argv, signal);
      runs.push({ sample: sample.name, does: sample.does, endpoint, pid, argv, status });
    }
  }
  return runs;
}

function commandOf(sample: Sample, endpoint: LabEndpoint, curl: boolean): readonly string[] {
  const origin = originOf(endpoint);
  const command = curl ? curlCommand(sample.steps(SERVICE_RULES[endpoint.provider]), origin) : undefined;
  return command ?? [process.execPath, builtScript('client-main.js'), sample.name, endpoint.provider, origin];
}

function runClient(
  namespace: string,
  argv: readonly string[],
  signal: AbortSignal,
): Promise<{ pid: number | undefined; status: number | null }> {
  return new Promise((resolve) => {
    const [command, ...args] = inNamespace(namespace, argv);
    const child = spawn(command, args, {
      // Neither the user's proxies nor a ~/.curlrc may send the clients anywhere else.
      env: { PATH: toolPath(), HOME: '/nonexistent' },
      stdio: 'ignore',
      detached: true, // a process group of its own, so that a shell's children can be killed with it
    });
    const kill = () => {
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {
        // already gone
      }
    };
    const timer = setTimeout(kill, CLIENT_TIMEOUT_MS);
    signal.addEventListener('abort', kill, { once: true });
    const end = (status: number | null) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', kill);
      resolve({ pid: child.pid, status });
    };
    child.once('error', () => end(null));
    child.once('exit', end);
  });
}

function isInstalled(command: string): boolean {
  return toolPath()
    .split(':')
    .some((folder) => {
      try {
        accessSync(join(folder, command), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
