import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { queryRpm } from '../../src/inventory/readers/packages.js';
import { run, runOk } from '../e2e/support/run.js';
import { removeTree } from './tree.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-rpm-'));
});
afterAll(() => removeTree(folder));

const spec = (name: string, epoch: number, version: string): string =>
  `Name: ${name}\nEpoch: ${epoch}\nVersion: ${version}\nRelease: 2.al8\nSummary: x\nLicense: x\nBuildArch: noarch\n%description\nx\n%files\n`;

it('reads the known packages of a database that rpm made, and none of one that is none', async ({ skip }) => {
  if ((await run(['sh', '-c', 'command -v rpm && command -v rpmbuild'])).status !== 0)
    skip('needs the rpm and rpmbuild commands');
  const database = join(folder, 'db');
  await runOk(['rpm', '--dbpath', database, '--initdb']);
  for (const [name, epoch, version] of [
    ['cloud-init', 1, '22.1'],
    ['bash', 0, '5.2'],
  ] as const) {
    const file = join(folder, `${name}.spec`);
    writeFileSync(file, spec(name, epoch, version));
    await runOk(['rpmbuild', '--quiet', '-bb', '--define', `_topdir ${folder}`, file]);
    const built = join(folder, `RPMS/noarch/${name}-${version}-2.al8.noarch.rpm`);
    await runOk(['rpm', '--dbpath', database, '-i', '--justdb', '--nodeps', built]);
  }
  expect(await queryRpm(database)).toEqual([{ name: 'cloud-init', version: '1:22.1-2.al8' }]);
  writeFileSync(join(folder, 'rpmdb.sqlite'), 'no database');
  expect(await queryRpm(folder)).toEqual([]);
});
