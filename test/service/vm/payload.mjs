// The second disk of the machine: the package, the same as a higher version, and the test.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../../../native/package/run.mjs';

const guest = join(dirname(fileURLToPath(import.meta.url)), 'guest');
const SIZE = '1G';

/** Path of the image, in `work`. */
export function makePayload({ built, work }) {
  const tree = join(work, 'payload');
  mkdirSync(tree);
  cpSync(guest, tree, { recursive: true, verbatimSymlinks: true });
  cpSync(built.path, join(tree, 'imds-tracer.deb'));
  makeUpgrade(built, work, join(tree, 'imds-tracer-upgrade.deb'));
  const image = join(work, 'payload.ext4');
  run('mke2fs', ['-q', '-t', 'ext4', '-d', tree, image, SIZE]);
  return image;
}

/** The same files under a higher version, which the program says as well. */
function makeUpgrade({ path, version }, work, to) {
  const tree = join(work, 'upgrade');
  run('dpkg-deb', ['-R', path, tree]);
  const higher = `${version}.1`;
  edit(join(tree, 'DEBIAN/control'), (text) => text.replace(/^Version: .*$/m, `Version: ${higher}`));
  edit(join(tree, 'usr/lib/imds-tracer/package.json'), (text) =>
    JSON.stringify({ ...JSON.parse(text), version: higher }),
  );
  run('dpkg-deb', ['--root-owner-group', '-Znone', '--build', tree, to]);
}

function edit(path, change) {
  const before = readFileSync(path, 'utf8');
  const after = change(before);
  if (after === before) throw new Error(`${path} is not as expected`);
  writeFileSync(path, after);
}
