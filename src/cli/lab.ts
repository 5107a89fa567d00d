import process from 'node:process';
import { Command, Option } from 'commander';
import { PROVIDER_NAMES } from '../imds/providers.js';
import type { ProviderName } from '../imds/types.js';
import type { Lab, LabOptions } from '../lab/lab.js';
import type { ServiceMode } from '../lab/service.js';
import { stopOnSignal } from './signals.js';
import { parseDuration } from './values.js';

interface LabCommandOptions {
  mode: ServiceMode;
  provider: ProviderName;
  duration?: string;
  once?: boolean;
}

/** Pause between two rounds of the sample clients, in milliseconds. */
export const LAB_PAUSE_MS = 3_000;
/** Said where the lab runs beside a capture that can't see it. */
export const LAB_UNSEEN = "libpcap sees the tracer's own network namespace only, so the lab's requests will not appear";

/** Loaded when it is needed: hardly a tracer runs with it. */
export const startLab = async (options: LabOptions): Promise<Lab> => (await import('../lab/lab.js')).startLab(options);

export function labCommand(): Command {
  return new Command('lab')
    .description('a private network namespace with an emulated metadata service and sample clients')
    .addOption(
      new Option(
        '--mode <MODE>',
        'what the service asks for: normal serves requests without a token, hardened refuses them',
      )
        .choices(['normal', 'hardened'])
        .default('normal'),
    )
    .addOption(new Option('--provider <NAME>', 'whose service').choices(PROVIDER_NAMES).default('alibaba'))
    .option('--duration <TIME>', 'stop by itself after 90s, 10m, …')
    .option('--once', 'run the sample clients once and stop')
    .addHelpText(
      'after',
      `
Examples:
  imds-tracer lab                      run sample clients every few seconds until Ctrl-C
  imds-tracer lab --mode hardened      … against an instance in security hardening mode
  ip netns exec NAME curl http://100.100.100.200/latest/meta-data/
                                       your own client, in the namespace that the lab names at its start`,
    )
    .action(async (options: LabCommandOptions) => {
      const durationMs = options.duration === undefined ? undefined : parseDuration(options.duration, '--duration');
      let lab: Lab | undefined;
      const stop = stopOnSignal(() => lab?.stop().catch(() => {}));
      lab = await startLab({ mode: options.mode, providers: [options.provider] });
      if (durationMs !== undefined) stop.after(durationMs);
      if (stop.requested) await lab.stop();
      const addresses = lab.endpoints.map(({ address }) => address).join(', ');
      process.stdout.write(`lab: ${options.provider} in ${options.mode} mode at ${addresses}\n`);
      process.stdout.write(`lab: your own clients: ip netns exec ${lab.clientNamespace} COMMAND\n`);
      try {
        if (options.once) {
          for (const run of await lab.runClientsOnce())
            process.stdout.write(`lab: ${run.sample} ${run.does}: ${outcome(run.status)}\n`);
        } else {
          await lab.runClientsRepeatedly(LAB_PAUSE_MS);
        }
      } finally {
        stop.release();
        await lab.stop();
      }
    });
}

const outcome = (status: number | null): string => (status === 0 ? 'done' : `ended with ${status ?? 'a signal'}`);
