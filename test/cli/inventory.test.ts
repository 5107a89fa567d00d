import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { InventoryResult } from '../../src/inventory/types.js';
import { run, runOk } from '../e2e/support/run.js';
import { makeTree, removeTree } from '../inventory/tree.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

let old: string;
let fine: string;
beforeAll(() => {
  const manifest = (version: string) => JSON.stringify({ name: '@alicloud/credentials', version });
  old = makeTree({ 'app/node_modules/@alicloud/credentials/package.json': manifest('2.3.1') });
  fine = makeTree({ 'app/node_modules/@alicloud/credentials/package.json': manifest('2.4.0') });
});
afterAll(() => {
  for (const tree of [old, fine]) removeTree(tree);
});

const inventory = (...args: string[]) => run([process.execPath, MAIN, 'inventory', ...args]);

describe('inventory', () => {
  it('says what is too old, where, and what to do, and exits with 1', async () => {
    const { status, stdout, stderr } = await inventory('--root', old);
    expect(stdout).toBe(
      'too_old  npm @alicloud/credentials 2.3.1 (tokens from 2.4.0 on)\n' +
        `         ${old}/app/node_modules/@alicloud/credentials/package.json\n` +
        '         Raise it from 2.3.1 to 2.4.0 or later. The 2.3.1 that the vendor names asks without a token, and where tokens ' +
        'are switched on it asks for them with GET and gets 405. Then set ALIBABA_CLOUD_IMDSV1_DISABLED=true in its ' +
        'environment, or disableIMDSv1: true in the Config, so that it never asks without a token.\n' +
        '1 clients: 1 too old, 0 unknown, 0 ok | 1 files, 5 directories, 0 processes\n',
    );
    expect([status, stderr]).toEqual([1, '']);
  });

  it('gives JSON, and 0 where nothing is too old', async () => {
    const { status, stdout } = await inventory('--root', fine, '--format', 'json');
    const { items, complete, ...document } = JSON.parse(stdout) as InventoryResult & Record<string, unknown>;
    expect([status, complete, document['schema_version'], document['root']]).toEqual([0, true, 1, fine]);
    expect(items).toEqual([
      {
        kind: 'npm',
        name: '@alicloud/credentials',
        provider: 'alibaba',
        version: '2.4.0',
        path: '/app/node_modules/@alicloud/credentials/package.json',
        root: fine,
        container_id: null,
        minimum: '2.4.0',
        status: 'ok',
        may_fall_back: true,
        advice: expect.stringContaining('ALIBABA_CLOUD_IMDSV1_DISABLED=true'),
        in_use: null,
        pids: [],
      },
    ]);
  });

  it('takes the providers that are asked for, and refuses what it does not know', async () => {
    expect((await inventory('--root', old, '--provider', 'aws', '--provider', 'naver')).status).toBe(0);
    expect((await inventory('--root', old, '--provider', 'aws', '--provider', 'alibaba')).status).toBe(1);
    const wrong = await Promise.all([
      inventory('--provider', 'nobody'),
      inventory('--root', `${old}/nothing`),
      inventory('--time-limit', 'soon'),
      inventory('--format', 'xml'),
    ]);
    expect(wrong.map(({ status }) => status)).toEqual([2, 2, 2, 2]);
    expect(wrong[1]!.stderr).toMatch(/^imds-tracer: --root .*ENOENT.* \[IMDS_ROOT_UNREADABLE\]\n {2}give a directory/);
  });

  it('exits with 4 where it could not see all, and nothing that it saw is too old', async () => {
    const { status, stdout } = await inventory('--root', '/usr', '--provider', 'naver', '--time-limit', '1ms');
    expect([status, stdout]).toEqual([
      4,
      expect.stringMatching(/^not seen 1× beyond a limit.*\n0 clients: .*not complete\n$/s),
    ]);
  });

  it('shows where it is on a terminal, and takes it away again', async ({ skip }) => {
    if ((await run(['which', 'script'])).status !== 0) skip('needs the script command (util-linux)');
    const command = `'${process.execPath}' '${MAIN}' inventory --root '${fine}' >/dev/null`;
    const { stdout } = await runOk(['script', '-qec', command, '/dev/null']);
    expect(stdout).toMatch(/inventory: [\d,]+ files seen, [\d,]+ looked into \| \//);
    expect(stdout.endsWith('\r\x1b[K')).toBe(true);
  });
});
