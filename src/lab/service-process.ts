import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { captureError } from '../errors.js';
import { packageRoot } from '../package-root.js';
import { inNamespace, type LabNetwork, toolPath } from './netns.js';
import { type LabEndpoint, originOf, type ServiceMode } from './service.js';

export interface ServiceProcess {
  readonly pid: number;
  /** False from the moment at which the process has ended. */
  readonly running: boolean;
  /** Resolves when it has ended. May be called again. */
  stop(): Promise<void>;
}

export interface ServiceProcessOptions {
  mode: ServiceMode;
  endpoints: readonly LabEndpoint[];
  /** File that gets a line of JSON for each thing received (see journal.ts). */
  journal?: string;
}

/** The built entry points, also when tests run the sources. */
export const builtScript = (name: string): string => join(packageRoot(), 'dist/lab', name);

/** How much of what the service complains about is kept for the error message. */
const MAX_COMPLAINT = 4096;

/**
 * Starts the emulated service in the network's server namespace; resolves once it listens.
 * @throws TracerError exit status 3 where it does not come up.
 */
export async function startServiceProcess(
  network: LabNetwork,
  { mode, endpoints, journal }: ServiceProcessOptions,
): Promise<ServiceProcess> {
  const [command, ...args] = inNamespace(network.server, [
    process.execPath,
    builtScript('service-main.js'),
    '--mode',
    mode,
    ...(journal === undefined ? [] : ['--journal', journal]),
    ...endpoints.map((endpoint) => `${endpoint.provider}=${originOf(endpoint)}`),
  ]);
  const child = spawn(command, args, {
    env: { ...process.env, PATH: toolPath() },
    // Its standard input is the leash: closed by us, or by the kernel when this process is killed.
    stdio: ['pipe', 'pipe', 'pipe'],
    // Out of the terminal's foreground group: on ^C it shall answer until the tracer has ended.
    detached: true,
  });
  let running = true;
  let complaint = '';
  const ended = new Promise<void>((resolve) => {
    const end = () => {
      running = false;
      resolve();
    };
    child.once('close', end);
    child.once('error', (error) => {
      complaint = error.message;
      end();
    });
  });
  child.stdin.on('error', () => {});
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-MAX_COMPLAINT);
  });
  await Promise.race([once(child.stdout, 'data').catch(() => ended), ended]);
  if (!running) {
    throw captureError(
      'IMDS_LAB_SERVICE',
      `the lab's service did not start: ${complaint.trim().replace(/\s*\n\s*/g, '; ') || 'it ended without a word'}`,
      'the lab must be able to enter the network namespaces it made; a container must be privileged',
    );
  }
  child.stdout.resume();
  return {
    pid: child.pid!,
    get running() {
      return running;
    },
    async stop() {
      child.stdin.end();
      const impatience = setTimeout(() => child.kill('SIGKILL'), 2000);
      await ended;
      clearTimeout(impatience);
    },
  };
}
