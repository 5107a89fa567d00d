import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ProviderName } from '../../../src/imds/types.js';
import type { JournalEntry } from '../../../src/lab/journal.js';
import { type Lab, startLab } from '../../../src/lab/lab.js';
import { inNamespace } from '../../../src/lab/netns.js';
import type { LabEndpoint, ServiceMode } from '../../../src/lab/service.js';
import { expectNoneMissing } from './accounting.js';
import { CleanupStack } from './cleanup.js';
import { JsonLines } from './lines.js';
import { type Finished, type RunOptions, run, runOk } from './run.js';
import { type EcsEvent, startTracer, type Tracer } from './tracer.js';
import { until } from './wait.js';

export interface SceneOptions {
  mode?: ServiceMode;
  providers?: readonly ProviderName[];
  endpoints?: readonly LabEndpoint[];
}

/** A lab of its own for a test file: network, emulated service with its journal, clients and tracers. */
export interface Scene {
  readonly lab: Lab;
  /** A folder that goes away with the scene. */
  readonly folder: string;
  readonly cleanup: CleanupStack;
  /** Everything the service received so far, in the order it did. */
  journal(): JournalEntry[];
  /** Runs a command in the client namespace. The pid is the command's own. */
  run(argv: readonly string[], options?: RunOptions): Promise<Finished>;
  /** As `run`, and rejects when the exit status is not 0. */
  runOk(argv: readonly string[], options?: RunOptions): Promise<Finished>;
  /**
   * Starts the built tracer with a log directory of its own and `--provider` for each of the scene's. Its `requests` are
   * those of the client namespace. Its `stop` rejects where a request that the service has received until then is no event
   * and nothing is counted as lost.
   */
  startTracer(args?: readonly string[], env?: NodeJS.ProcessEnv): Promise<Tracer>;
  close(): Promise<void>;
}

export async function openScene(options: SceneOptions = {}): Promise<Scene> {
  const cleanup = new CleanupStack();
  try {
    const folder = mkdtempSync(join(tmpdir(), 'imds-e2e-'));
    cleanup.defer(`remove ${folder}`, () => rmSync(folder, { recursive: true, force: true }));
    const journal = join(folder, 'journal.ndjson');
    const lab = await startLab({ mode: 'normal', ...options, journal });
    cleanup.defer('stop the lab', () => lab.stop());
    const lines = new JsonLines<JournalEntry>();
    const netns = statSync(`/var/run/netns/${lab.clientNamespace}`).ino;
    const inClient = (argv: readonly string[]) => inNamespace(lab.clientNamespace, argv);
    const journaled = () => [...lines.read(journal)];
    return {
      lab,
      folder,
      cleanup,
      journal: journaled,
      run: (argv, how) => run(inClient(argv), how),
      runOk: (argv, how) => runOk(inClient(argv), how),
      startTracer: async (args = [], env = {}) => {
        const providers = [...new Set(lab.endpoints.map(({ provider }) => provider))];
        const tracer = await startTracer({
          logDir: mkdtempSync(join(folder, 'log-')),
          args: [...providers.flatMap((provider) => ['--provider', provider]), ...args],
          env,
        });
        cleanup.defer('stop the tracer', () => tracer.stop());
        // The tracer sees the whole machine: its own clients of a real service, and other labs. What has no process stays.
        const ours = ({ imds }: EcsEvent) => imds?.netns === undefined || imds.netns === netns;
        const before = journaled().length;
        const stop = async () => {
          const received = journaled().slice(before);
          const end = await tracer.stop();
          expectNoneMissing(tracer.events(), received);
          return end;
        };
        return { ...tracer, requests: () => tracer.requests().filter(ours), stop };
      },
      close: () => cleanup.run(),
    };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}

export interface Observed<T> {
  result: T;
  journal: JournalEntry[];
  events: EcsEvent[];
}

/**
 * Lets `act` cause traffic, waits until the service has journaled `count` more entries and the tracer has written as
 * many more request events, and gives those. An event that comes later still is found by a comparison of everything
 * after `tracer.stop()`.
 */
export async function observe<T>(
  scene: Scene,
  tracer: Tracer,
  count: number,
  act: () => Promise<T>,
  timeoutMs = 15_000,
): Promise<Observed<T>> {
  const journaled = scene.journal().length;
  const written = tracer.requests().length;
  const result = await act();
  const journal = () => scene.journal().slice(journaled);
  const events = () => tracer.requests().slice(written);
  await until(
    () => `${count} journal entries; there are ${journal().length}`,
    () => journal().length >= count,
    timeoutMs,
  );
  await until(
    () =>
      `${count} events for ${journal().length} journal entries; there are ${events().length}, and ` +
      `${tracer.events().length} of the whole machine since the start\n${tracer.stderr()}`,
    () => events().length >= count,
    timeoutMs,
  );
  return { result, journal: journal(), events: events() };
}

/** The argv of a client that asks for a token, good for so many seconds, and prints it. */
export const askForToken = (origin: string, seconds: number, header = 'X-aliyun-ecs-metadata-token'): string[] => [
  ...['curl', '-s', '-f', '-X', 'PUT', '-H', `${header}-ttl-seconds: ${seconds}`],
  `${origin}/latest/api/token`,
];

/** A client of test/e2e/clients. */
export const clientScript = (name: string): string => fileURLToPath(new URL(`../clients/${name}`, import.meta.url));

/** Path of the Python interpreter itself, past any wrapper script, so that a client's argv is what the test wrote. */
export async function pythonPath(): Promise<string> {
  const { stdout } = await runOk(['python3', '-c', 'import sys; print(sys.executable)']);
  return stdout.trim();
}

/** Compiles a C client into the scene's folder; resolves to the program's path. */
export async function compileClient(scene: Scene, name: string): Promise<string> {
  const program = join(scene.folder, name.replace(/\.c$/, ''));
  await runOk(['cc', '-O1', '-Wall', '-Wextra', '-Werror', '-o', program, clientScript(name)]);
  return program;
}
