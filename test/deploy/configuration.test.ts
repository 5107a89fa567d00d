import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { resolveTraceOptions } from '../../src/cli/options.js';
import { TracerMetrics } from '../../src/metrics/tracer-metrics.js';
import { createEventContext } from '../../src/output/context.js';
import { Shipper } from '../../src/ship/shipper.js';
import { DEPLOY, deployed, programPath } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'imds-deploy-'));
afterAll(() => rmSync(folder, { recursive: true }));

const files = (readdirSync(DEPLOY, { recursive: true }) as string[]).filter((name) =>
  statSync(join(DEPLOY, name)).isFile(),
);

/** Skips where a program is missing, and says so. */
function needing(program: string, name: string, test: () => void): void {
  const missing = programPath(program) === undefined;
  it.skipIf(missing)(missing ? `${name} (skipped: ${program} is missing)` : name, test);
}

function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(programPath(program)!, args, { encoding: 'utf8' });
  expect(status, stdout + stderr).toBe(0);
  return stdout + stderr;
}

describe('each file for deployment', () => {
  it.each(files.filter((name) => /\.ya?ml$/.test(name)))('is YAML without repeated keys: %s', (name) => {
    for (const document of parseAllDocuments(deployed(name), { uniqueKeys: true })) {
      expect([...document.errors, ...document.warnings]).toEqual([]);
    }
  });

  it.each(files.filter((name) => name.endsWith('.json')))('is JSON: %s', (name) => {
    JSON.parse(deployed(name));
  });

  it.each(files.filter((name) => !name.endsWith('.json')))('says whether it was run or checked: %s', (name) => {
    expect(deployed(name)).toMatch(/Not run|Checked with|Run in a\s(?:# )?test/);
  });

  it.each(['filebeat.yml', 'vector.yaml', 'fluent-bit.yaml', 'logtail.yaml'])(
    'reads the log of JSON events: %s',
    (name) => {
      expect(JSON.stringify(parse(deployed(name)))).toMatch(/"\/var\/log\/imds\/imds-events(?:\*|)\.ndjson"/);
    },
  );
});

describe('the Prometheus rules', () => {
  const rules = deployed('prometheus/rules.yml');

  needing('promtool', 'are valid, as is the scrape configuration', () => {
    run('promtool', 'check', 'rules', '--lint-fatal', join(DEPLOY, 'prometheus/rules.yml'));
    run('promtool', 'check', 'config', join(DEPLOY, 'prometheus/scrape.yml'));
  });

  needing('promtool', 'alert at their causes, and only then', () => {
    const alerts = readAlerts().replace('RULES', join(DEPLOY, 'prometheus/rules.yml'));
    const file = join(folder, 'alerts.yml');
    writeFileSync(file, alerts);
    run('promtool', 'test', 'rules', file);
  });

  it('have a test each', () => {
    const { groups } = parse(rules) as { groups: { rules: { alert: string }[] }[] };
    const tested = [...readAlerts().matchAll(/alertname="(\w+)"/g)].map(([, name]) => name);
    expect(groups.flatMap((group) => group.rules.map(({ alert }) => alert)).sort()).toEqual(tested.sort());
  });

  it('name metrics and labels that there are', () => {
    const shipper = new Shipper({
      targets: [],
      spoolDir: join(folder, 'spool'),
      spoolBytes: 1024 * 1024,
      context: createEventContext({ hostName: 'h', version: '1' }),
      endpoint: [],
      say: () => undefined,
    });
    const metrics = new Map(
      [...new TracerMetrics().metrics, ...shipper.metrics].map(({ name, labels = [] }) => [
        `imds_tracer_${name}`,
        labels,
      ]),
    );
    const used = [...rules.matchAll(/(imds_tracer_\w+)(?:\{([^}]*)\})?/g)];
    expect(used.length).toBeGreaterThan(10);
    for (const [, name, labels = ''] of used) {
      if (name === 'imds_tracer_tool') continue;
      expect([...metrics.keys()]).toContain(name);
      for (const [, label] of labels.matchAll(/(\w+)=/g)) expect(metrics.get(name!)).toContain(label);
    }
  });
});

const readAlerts = (): string => deployed('../test/deploy/alerts.yml');

describe('the configuration of logrotate', () => {
  needing('logrotate', 'is valid, and rotates both files', () => {
    for (const name of ['imds-trace.log', 'imds-events.ndjson']) writeFileSync(join(folder, name), 'a line\n');
    const config = join(folder, 'logrotate.conf');
    const rotated = deployed('logrotate.conf').replaceAll('/var/log/imds/', `${folder}/`);
    writeFileSync(config, rotated.replace(/^\t\t\/bin\/systemctl.*$/m, `\t\ttouch ${folder}/signalled`), {
      mode: 0o644,
    });
    expect(run('logrotate', '-d', '-s', join(folder, 'state'), config)).not.toMatch(/error/i);
    run('logrotate', '-f', '-s', join(folder, 'state'), config);
    const names = readdirSync(folder);
    // As the documents have it: these are what `grep` and `cat` are told to look at.
    expect(names.filter((name) => name.startsWith('imds-trace.'))).toEqual([
      expect.stringMatching(/^imds-trace\.log-/),
    ]);
    expect(names.filter((name) => name.startsWith('imds-events'))).toEqual([
      expect.stringMatching(/^imds-events\.ndjson-/),
    ]);
    expect(names).toContain('signalled');
  });
});

describe('the image', () => {
  it('starts the program as the systemd unit does', () => {
    const entry = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(deployed('Dockerfile'))![1]!) as string[];
    const start = /^ExecStart=(.*)$/m.exec(deployed('../systemd/imds_tracer_tool.service'))![1]!;
    expect(start.startsWith(`${entry.join(' ')} trace --quiet`)).toBe(true);
  });
});

describe('the configuration within the DaemonSet', () => {
  it('is one that the tracer takes, and so are the arguments', () => {
    const documents = parseAllDocuments(deployed('kubernetes/daemonset.yaml')).map((document) => document.toJS());
    const file = join(folder, 'config.yaml');
    writeFileSync(file, documents.find(({ kind }) => kind === 'ConfigMap').data['config.yaml']);
    const { args } = documents.find(({ kind }) => kind === 'DaemonSet').spec.template.spec.containers[0];
    expect(args).toEqual(['trace', '--quiet', '--log-dir', '/var/log/imds', '--metrics', '$(HOST_IP):9464']);
    expect(
      resolveTraceOptions({ config: file, quiet: true, logDir: '/var/log/imds', metrics: '192.0.2.7:9464' }),
    ).toMatchObject({ provider: ['alibaba'], format: 'ecs', metrics: { host: '192.0.2.7', port: 9464 } });
  });
});
