import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { TracerError } from '../../src/errors.js';
import type { JournalEntry } from '../../src/lab/journal.js';
import { startLab } from '../../src/lab/lab.js';
import { cleanStale } from '../../src/lab/netns.js';
import { SAMPLES } from '../../src/lab/samples.js';
import { SERVICE_MODES } from '../../src/lab/service.js';
import { builtScript } from '../../src/lab/service-process.js';
import { packageRoot } from '../../src/package-root.js';
import { CleanupStack } from '../e2e/support/cleanup.js';
import { run, runOk } from '../e2e/support/run.js';
import { openScene } from '../e2e/support/scene.js';
import { until } from '../e2e/support/wait.js';

const cleanup = new CleanupStack();
afterEach(() => cleanup.run());

const namespaces = () => (existsSync('/var/run/netns') ? readdirSync('/var/run/netns') : []);
const isRunning = (pid: number) => {
  try {
    return !/^\d+ \(.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
};
const outline = (journal: readonly JournalEntry[]) =>
  journal.map((entry) => (entry.kind === 'request' ? [entry.method, entry.target, entry.status] : [entry.code]));

const TOKEN = '/latest/api/token';
const ID = '/latest/meta-data/instance-id';
const ROLES = '/latest/meta-data/ram/security-credentials/';

/** What the service receives from each sample client, and its answers, in either mode. */
const RECEIVED: Record<string, Record<string, unknown[]>> = {
  'no-token': { normal: [['GET', ID, 200]], hardened: [['GET', ID, 403]] },
  token: {
    both: [
      ['PUT', TOKEN, 200],
      ['GET', ID, 200],
    ],
  },
  'split-head': {
    both: [
      ['PUT', TOKEN, 200],
      ['GET', ID, 200],
    ],
  },
  'bad-ttl': { both: [['PUT', TOKEN, 400]] },
  'proxied-token': { both: [['PUT', TOKEN, 403]] },
  'bad-token': { both: [['GET', ID, 401]] },
  fallback: {
    normal: [
      ['PUT', TOKEN, 400],
      ['GET', ID, 200],
    ],
    hardened: [
      ['PUT', TOKEN, 400],
      ['GET', ID, 403],
    ],
  },
  credentials: {
    normal: [
      ['GET', ROLES, 200],
      ['GET', `${ROLES}lab-role`, 200],
    ],
    hardened: [['GET', ROLES, 403]],
  },
};

describe.each(SERVICE_MODES)('the sample clients in %s mode', (mode) => {
  const wanted = SAMPLES.flatMap(({ name }) => RECEIVED[name]!['both'] ?? RECEIVED[name]![mode]!);

  test('send what they say', async () => {
    const scene = await openScene({ mode });
    cleanup.defer('close the scene', () => scene.close());
    const runs = await scene.lab.runClientsOnce();
    expect(runs.map(({ sample }) => sample)).toEqual(SAMPLES.map(({ name }) => name));
    expect(runs.every(({ pid }) => pid !== undefined && pid > 0)).toBe(true);
    expect(outline(scene.journal())).toEqual(wanted);
  });

  test('send the same where there is only Node, and print nothing', async () => {
    const scene = await openScene({ mode });
    cleanup.defer('close the scene', () => scene.close());
    for (const { name } of SAMPLES) {
      const client = [process.execPath, builtScript('client-main.js'), name, 'alibaba', 'http://100.100.100.200'];
      expect(await scene.run(client)).toMatchObject({ stdout: '', stderr: '', signal: null });
    }
    expect(outline(scene.journal())).toEqual(wanted);
  });
});

test('the fallback is one process on curl as on Node', async () => {
  const scene = await openScene();
  cleanup.defer('close the scene', () => scene.close());
  const runs = await scene.lab.runClientsOnce();
  expect(runs.find(({ sample }) => sample === 'fallback')!.argv).toContain('--next');
});

test('every sample has a path of its own in the table of what is received', () => {
  expect(Object.keys(RECEIVED)).toEqual(SAMPLES.map(({ name }) => name));
});

describe('the network', () => {
  test('leads nowhere but to the service, and the machine sees nothing of it', async () => {
    const before = Object.keys(networkInterfaces());
    const routes = (await runOk(['ip', 'route', 'show', 'table', 'all'])).stdout;
    const lab = await startLab({ mode: 'normal', providers: ['alibaba', 'aws'] });
    cleanup.defer('stop the lab', () => lab.stop());
    expect(Object.keys(networkInterfaces())).toEqual(before);
    expect((await runOk(['ip', 'route', 'show', 'table', 'all'])).stdout).toBe(routes);
    for (const name of [lab.clientNamespace, lab.serverNamespace]) {
      for (const family of ['-4', '-6']) {
        expect((await runOk(['ip', '-n', name, family, 'route', 'show', 'default'])).stdout).toBe('');
      }
    }
    const elsewhere = await run(['ip', '-n', lab.clientNamespace, 'route', 'get', '192.0.2.1']);
    expect(elsewhere.status).not.toBe(0);
  });

  test('is gone after stop, and so are service and running clients', async () => {
    const lab = await startLab({ mode: 'normal' });
    const looping = lab.runClientsRepeatedly(10);
    await until('a client', async () => (await runOk(['ip', 'netns', 'pids', lab.clientNamespace])).stdout !== '');
    const clients = (await runOk(['ip', 'netns', 'pids', lab.clientNamespace])).stdout.split('\n').filter(Boolean);
    await lab.stop();
    await lab.stop();
    await looping;
    expect(await lab.runClientsOnce()).toEqual([]);
    expect(namespaces()).not.toContain(lab.clientNamespace);
    expect(namespaces()).not.toContain(lab.serverNamespace);
    expect([lab.servicePid, ...clients.map(Number)].filter(isRunning)).toEqual([]);
  });

  test('two labs live beside each other', async () => {
    const labs = [await startLab({ mode: 'normal' }), await startLab({ mode: 'hardened' })];
    for (const lab of labs) cleanup.defer('stop a lab', () => lab.stop());
    const statuses = await Promise.all(
      labs.map(({ clientNamespace }) =>
        runOk([
          'ip',
          'netns',
          'exec',
          clientNamespace,
          'curl',
          '-s',
          '-o',
          '/dev/null',
          '-w',
          '%{http_code}',
          `http://100.100.100.200${ID}`,
        ]),
      ),
    );
    expect(statuses.map(({ stdout }) => stdout)).toEqual(['200', '403']);
  });
});

test('what a killed tracer left is removed at the next start, and nothing that is still in use', async () => {
  const mine = await startLab({ mode: 'normal' });
  cleanup.defer('stop the lab', () => mine.stop());
  const script = `
    import { startLab } from ${JSON.stringify(join(packageRoot(), 'build/js/lab/lab.js'))};
    const lab = await startLab({ mode: 'normal' });
    lab.runClientsRepeatedly(10);
    console.log(JSON.stringify([lab.servicePid, lab.clientNamespace, lab.serverNamespace]));`;
  const other = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  cleanup.defer('kill the other', () => other.kill('SIGKILL'));
  const [line] = await once(other.stdout, 'data');
  const [servicePid, ...names] = JSON.parse(String(line)) as [number, string, string];
  expect(await cleanStale()).toEqual([]);

  other.kill('SIGKILL');
  await once(other, 'exit');
  await until('the end of the service', () => !isRunning(servicePid));
  expect(namespaces()).toEqual(expect.arrayContaining(names));
  await until('the end of the clients', async () => (await runOk(['ip', 'netns', 'pids', names[0]!])).stdout === '');
  const next = await startLab({ mode: 'normal' });
  cleanup.defer('stop the next lab', () => next.stop());
  for (const name of names) expect(namespaces()).not.toContain(name);
  expect(namespaces()).toEqual(expect.arrayContaining([mine.clientNamespace, mine.serverNamespace]));
});

test('a pid that belongs to another process by now keeps nothing', async () => {
  const name = `imds-lab-${process.pid}-1-00000000-client`;
  await runOk(['ip', 'netns', 'add', name]);
  expect(await cleanStale()).toEqual([name]);
  expect(namespaces()).not.toContain(name);
});

describe('where a lab is impossible it says why, with exit status 3', () => {
  const script = `
    import { startLab } from ${JSON.stringify(join(packageRoot(), 'build/js/lab/lab.js'))};
    try { await (await startLab({ mode: 'normal' })).stop(); console.log('{}'); }
    catch ({ code, exitStatus, message, remedy }) { console.log(JSON.stringify({ code, exitStatus, message, remedy })); }`;
  const attempt = async (...prefix: string[]) => {
    const { stdout } = await runOk([...prefix, process.execPath, '--input-type=module', '-e', script]);
    return JSON.parse(stdout);
  };

  test('not root', async () => {
    // Root in name only keeps the right to read the checkout, wherever it lies.
    expect(
      await attempt('setpriv', '--reuid', '65534', '--inh-caps', '+dac_override', '--ambient-caps', '+dac_override'),
    ).toMatchObject({
      code: 'IMDS_LAB_NOT_ROOT',
      exitStatus: 3,
    });
  });

  test('root without the capabilities', async () => {
    expect(await attempt('setpriv', '--bounding-set', '-sys_admin')).toMatchObject({
      code: 'IMDS_LAB_NETNS',
      exitStatus: 3,
      message: expect.stringMatching(/Operation not permitted/),
    });
  });

  test('no `ip`', async () => {
    const hide =
      'for d in /usr/sbin /usr/bin /sbin /bin; do [ -e $d/ip ] && mount --bind /dev/null $d/ip; done; exec "$@"';
    expect(await attempt('unshare', '--mount', 'sh', '-c', hide, 'sh', 'env', 'PATH=/nonexistent')).toMatchObject({
      code: 'IMDS_LAB_NO_IP',
      exitStatus: 3,
    });
  });
});

test.each([
  ['no address', { provider: 'alibaba', address: 'example.com', port: 80 }],
  ['no port', { provider: 'alibaba', address: '100.100.100.200', port: 0 }],
] as const)('an endpoint with %s is wrong usage', async (_, endpoint) => {
  const error = await startLab({ mode: 'normal', endpoints: [endpoint] }).catch((failure: unknown) => failure);
  expect(error).toBeInstanceOf(TracerError);
  expect(error).toMatchObject({ code: 'IMDS_LAB_ENDPOINT', exitStatus: 2 });
});
