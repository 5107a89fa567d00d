import { existsSync } from 'node:fs';
import { isIP, isIPv6 } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { captureError, usageError } from '../errors.js';
import type { ProviderName } from '../imds/types.js';
import { type ClientRun, runSamples } from './clients.js';
import { cleanStale, createNetwork } from './netns.js';
import { SERVICE_RULES } from './rules.js';
import type { LabEndpoint, ServiceMode } from './service.js';
import { type ServiceProcess, startServiceProcess } from './service-process.js';

export interface LabOptions {
  mode: ServiceMode;
  /** Emulated at their own addresses, port 80. Default: alibaba. */
  providers?: readonly ProviderName[];
  /** Further addresses, or other ports. */
  endpoints?: readonly LabEndpoint[];
  /** File that gets a line of JSON for each request that the service received, tokens included: for tests. */
  journal?: string;
}

/** A running lab. Its namespaces can be entered with `ip netns exec NAME COMMAND`. */
export interface Lab {
  readonly clientNamespace: string;
  readonly serverNamespace: string;
  readonly endpoints: readonly LabEndpoint[];
  readonly servicePid: number;
  /**
   * Runs every sample client once against every endpoint; resolves early when the lab is stopped.
   * @throws TracerError when the emulated service has ended.
   */
  runClientsOnce(): Promise<ClientRun[]>;
  /** Runs them again and again with a pause in between, until the lab is stopped. Errors as `runClientsOnce`. */
  runClientsRepeatedly(pauseMs: number): Promise<void>;
  /** Ends clients and service and removes the namespaces. May be called again. */
  stop(): Promise<void>;
}

/**
 * Builds the network, starts the emulated service and resolves once it answers. First removes what labs left behind
 * whose process was killed.
 * @throws TracerError exit status 2 for an endpoint that is no address, 3 where this host can't run a lab.
 */
export async function startLab(options: LabOptions): Promise<Lab> {
  const endpoints = labEndpoints(options);
  await cleanStale();
  const network = await createNetwork([...new Set(endpoints.map(({ address }) => address))]);
  let service: ServiceProcess;
  try {
    service = await startServiceProcess(network, { ...options, endpoints });
  } catch (error) {
    await network.remove().catch(() => {});
    throw error;
  }

  const stopping = new AbortController();
  const running = new Set<Promise<unknown>>();
  const runClientsOnce = async (): Promise<ClientRun[]> => {
    if (stopping.signal.aborted) return [];
    if (!service.running) {
      throw captureError('IMDS_LAB_SERVICE', "the lab's service has ended", 'start the lab again');
    }
    const run = runSamples(network.client, endpoints, stopping.signal);
    running.add(run);
    return run.finally(() => running.delete(run));
  };
  const runClientsRepeatedly = async (pauseMs: number): Promise<void> => {
    while (!stopping.signal.aborted) {
      await runClientsOnce();
      await sleep(pauseMs, undefined, { signal: stopping.signal }).catch(() => {});
    }
  };
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    stopping.abort();
    await Promise.allSettled(running);
    await service.stop();
    await network.remove();
  };
  return {
    clientNamespace: network.client,
    serverNamespace: network.server,
    endpoints,
    servicePid: service.pid,
    runClientsOnce,
    runClientsRepeatedly,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

function labEndpoints({ providers = ['alibaba'], endpoints = [] }: LabOptions): LabEndpoint[] {
  for (const { address, port } of endpoints) {
    if (isIP(address) === 0 || !Number.isInteger(port) || port < 1 || port > 65535) {
      throw usageError('IMDS_LAB_ENDPOINT', `not an address and port for the lab: ${address} ${port}`);
    }
  }
  const ipv6 = existsSync('/proc/net/if_inet6'); // absent where the kernel was started without IPv6
  const own = providers.flatMap((provider) =>
    SERVICE_RULES[provider].addresses
      .filter((address) => ipv6 || !isIPv6(address))
      .map((address): LabEndpoint => ({ provider, address, port: 80 })),
  );
  return [...own, ...endpoints];
}
