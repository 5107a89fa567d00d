import process from 'node:process';
import { Command } from 'commander';
import pc from 'picocolors';
import { describeLive, NOBODYS_ENDPOINT, openLive } from '../capture/choose.js';
import { type HostCheck, type HostProbe, probeHost } from '../capture/probe.js';
import type { CaptureSource } from '../capture/types.js';
import { ExitCode, TracerError } from '../errors.js';
import { inColour } from '../output/terminal.js';
import { version } from '../version.js';
import { writeResult } from './streams.js';

interface Diagnosis {
  version: string;
  node: string;
  checks: readonly HostCheck[];
  /** What `trace` would take, and why. */
  source: { chosen: CaptureSource['kind'] | 'none'; reason: string; remedy?: string };
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description(
      'says what this host can do: kernel, BTF, cgroup v2, capabilities, programs tried for real, chosen source',
    )
    .option('--json', 'for programs')
    .addHelpText(
      'after',
      `
Examples:
  sudo imds-tracer doctor                            each check, and what trace would capture with
  sudo imds-tracer doctor --json | jq -r .source.chosen

Exit status: 0 this host can capture, 3 it can not: why, and what to do, is on standard error.`,
    )
    .action(async (options: { json?: boolean }) => {
      const diagnosis = diagnose();
      await writeResult(options.json ? `${JSON.stringify(diagnosis, null, 2)}\n` : formatDiagnosis(diagnosis));
      const { chosen, reason, remedy } = diagnosis.source;
      if (chosen !== 'none') return;
      process.exitCode = ExitCode.cannotCapture;
      process.stderr.write(`imds-tracer: ${reason}\n${remedy ? `  ${remedy}\n` : ''}`);
    });
}

function diagnose(): Diagnosis {
  const probe = probeHost();
  return { version, node: process.version, checks: probe.checks, source: chooseSource(probe) };
}

function chooseSource(probe: HostProbe): Diagnosis['source'] {
  try {
    const live = openLive('auto', { endpoints: [NOBODYS_ENDPOINT] });
    live.source.close();
    return { chosen: live.source.kind, reason: describeLive(live) };
  } catch (error) {
    if (!(error instanceof TracerError)) throw error;
    const failed = probe.checks.filter(({ ok }) => !ok).map(({ check }) => check);
    return {
      chosen: 'none',
      reason: `${error.message} [${error.code}]${failed.length > 0 ? ` (failed: ${failed.join(', ')})` : ''}`,
      ...(error.remedy !== undefined && { remedy: error.remedy }),
    };
  }
}

function formatDiagnosis({ checks, source, ...versions }: Diagnosis): string {
  const colours = pc.createColors(inColour(process.stdout));
  const width = Math.max(...checks.map(({ check }) => check.length));
  const lines = checks.map(
    ({ check, ok, detail }) => `${ok ? colours.green('ok  ') : colours.red('no  ')} ${check.padEnd(width)}  ${detail}`,
  );
  const verdict =
    source.chosen === 'none'
      ? colours.red('This host can’t capture.')
      : `${colours.green('trace would use')}: ${source.reason}`;
  return `imds-tracer ${versions.version}, Node ${versions.node}\n${lines.join('\n')}\n${verdict}\n`;
}
