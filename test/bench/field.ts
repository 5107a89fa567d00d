import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { cleanStale, createNetwork, inNamespace } from '../../src/lab/netns.js';
import { CleanupStack } from '../e2e/support/cleanup.js';
import { runOk } from '../e2e/support/run.js';
import { type HeldProcess, hold } from './held-process.js';
import { C_PROGRAMS, C_SOURCES } from './paths.js';

/**
 * The address that is asked; it exists in the benchmark's network namespaces only. Of the range that is for benchmarks (RFC 2544,
 * next to the lab's), so that whatever else on the host asks a metadata service is apart from it.
 */
export const ENDPOINT = '198.18.1.7';
const PORT = 80;

/** What a command of traffic.c prints. */
export interface TrafficResult {
  seconds: number;
  cpu_seconds: number;
  round_trip_us: { p50: number; p99: number };
}

export interface RequestPlan {
  workers: number;
  /** Of each worker. */
  count: number;
  perConnection: number;
  /** Requests a second of all workers together; 0: the next as soon as the last is answered. */
  rate: number;
}

/** Where the traffic is: two network namespaces joined by a veth pair, a service in one, clients in the other. */
export interface Field {
  readonly servicePid: number;
  request(plan: RequestPlan): Promise<TrafficResult>;
  /** Over the loopback of the client namespace; nothing the tracer watches. */
  unrelated(what: 'round-trips' | 'connects' | 'bulk', count: number): Promise<TrafficResult>;
  /** The command that runs `argv` among the clients. */
  among(argv: readonly string[]): readonly string[];
  /** Runs a command among the clients. */
  inClient(argv: readonly string[]): Promise<void>;
  hold(what: 'stats' | 'empty'): Promise<HeldProcess>;
  /** So many connections to the endpoint, open and with a request each behind them. */
  keepOpen(connections: number): Promise<HeldProcess>;
  /** So many processes that sleep, in network namespaces and cgroups of their own where `cgroup` is the folder of a cgroup. */
  crowd(processes: number, cgroup?: string): Promise<HeldProcess>;
  close(): Promise<void>;
}

export async function openField(): Promise<Field> {
  const traffic = await compile('traffic');
  const holdBpf = await compile('hold_bpf');
  await cleanStale();
  const cleanup = new CleanupStack();
  const network = await createNetwork([ENDPOINT]);
  cleanup.defer('remove the network namespaces', () => network.remove());
  try {
    const service = await hold(inNamespace(network.server, [traffic, 'serve', ENDPOINT, String(PORT)]));
    cleanup.defer('stop the service', () => service.end());
    const client = async (argv: readonly string[]): Promise<TrafficResult> => {
      const { stdout } = await runOk(inNamespace(network.client, [traffic, ...argv]), { timeoutMs: 600_000 });
      return JSON.parse(stdout) as TrafficResult;
    };
    return {
      servicePid: service.pid,
      request: ({ workers, count, perConnection, rate }) =>
        client(['request', ENDPOINT, ...[PORT, workers, count, perConnection, rate].map(String)]),
      unrelated: (what, count) => client([what, String(count)]),
      among: (argv) => inNamespace(network.client, argv),
      inClient: async (argv) => {
        await runOk(inNamespace(network.client, argv), { timeoutMs: 120_000 });
      },
      hold: (what) => hold([holdBpf, what]),
      keepOpen: (connections) =>
        hold(inNamespace(network.client, [traffic, 'keep', ENDPOINT, String(PORT), String(connections)])),
      crowd: (processes, cgroup) =>
        hold([traffic, 'crowd', String(processes), ...(cgroup === undefined ? [] : [cgroup])]),
      close: () => cleanup.run(),
    };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}

async function compile(name: string): Promise<string> {
  const program = join(C_PROGRAMS, name);
  mkdirSync(C_PROGRAMS, { recursive: true });
  await runOk(['gcc', '-O2', '-Wall', '-Wextra', '-Werror', '-o', program, join(C_SOURCES, `${name}.c`)]);
  return program;
}
