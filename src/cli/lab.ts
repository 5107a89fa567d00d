import process from 'node:process';
import { Command, Option } from 'commander';
import { PROVIDER_NAMES } from '../imds/providers.js';
import type { ProviderName } from '../imds/types.js';
import type { Lab, LabOptions } from '../lab/lab.js';
import type { ServiceMode } from '../lab/service.js';
import { stopOnSignal } from './signals.js';
import { isTerminalGone } from './streams.js';
import { parseDuration } from './values.js';

interface LabCommandOptions {
  mode: ServiceMode;
  provider: (ProviderName | 'all')[];
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
    .addOption(
      new Option('--provider <NAME...>', 'whose service (repeatable; default: alibaba)')
        .choices([...PROVIDER_NAMES, 'all'])
        .default(['alibaba'], 'alibaba'),
    )
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
      const providers = PROVIDER_NAMES.filter((name) => options.provider.some((one) => one === name || one === 'all'));
      const stop = stopOnSignal(() => lab?.stop().catch(() => {}));
      const onHangup = (): void => {
        if (isTerminalGone()) stop.after(0);
      };
      process.on('SIGHUP', onHangup);
      lab = await startLab({ mode: options.mode, providers });
      if (durationMs !== undefined) stop.after(durationMs);
      if (stop.requested) await lab.stop();
      const addresses = [...new Set(lab.endpoints.map(({ address }) => address))].join(', ');
      process.stdout.write(`lab: ${providers.join(', ')} in ${options.mode} mode at ${addresses}\n`);
      process.stdout.write(`lab: your own clients: ip netns exec ${lab.clientNamespace} COMMAND\n`);
      try {
        if (options.once) {
          const several = lab.endpoints.length > 1;
          for (const { sample, does, endpoint, status } of await lab.runClientsOnce())
            process.stdout.write(
              `lab: ${sample}${several ? ` (${endpoint.provider})` : ''} ${does}: ${outcome(status)}\n`,
            );
        } else {
          await lab.runClientsRepeatedly(LAB_PAUSE_MS);
        }
      } finally {
        stop.release();
        await lab.stop();
        process.off('SIGHUP', onHangup);
      }
    });
}

const outcome = (status: number | null): string => (status === 0 ? 'done' : `ended with ${status ?? 'a signal'}`);
