// npm run package [-- ARCH...]: packages that need no compiler, no npm and no Node.js on the target, in build/packages.
// ARCH: x64, arm64; default this machine's. Set SOURCE_DATE_EPOCH for other times than that of the last commit, and
// DEBFULLNAME and DEBEMAIL (as for Debian's own tools) for another maintainer than who made it.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { checkBinaries } from './package/elf.mjs';
import { makePackages } from './package/formats.mjs';
import { buildLibrary } from './package/library.mjs';
import { run } from './package/run.mjs';
import { billOfMaterials } from './package/sbom.mjs';
import { TARGETS } from './package/targets.mjs';
import { HOME, layOut, productionPackages } from './package/tree.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const out = join(root, 'build/packages');
const cache = join(out, 'cache');

function sourceDate() {
  const given = process.env.SOURCE_DATE_EPOCH ?? run('git', ['log', '-1', '--format=%ct'], { cwd: root }).trim();
  if (!/^\d{1,11}$/.test(given)) throw new Error(`SOURCE_DATE_EPOCH is ${given}, not a number of seconds`);
  return Number(given);
}

function maintainer() {
  const { DEBFULLNAME: name, DEBEMAIL: address } = process.env;
  const given =
    name && address ? `${name} <${address}>` : run('git', ['log', '-1', '--format=%cn <%ce>'], { cwd: root }).trim();
  // It becomes a line of a control file and of a spec.
  if (!/^[^\p{Cc}<>%]+ <[^\s\p{Cc}<>%]+@[^\s\p{Cc}<>%]+>$/u.test(given)) {
    throw new Error(
      `maintainer ${JSON.stringify(given)} is not of the form "name <address>": set DEBFULLNAME and DEBEMAIL`,
    );
  }
  return given;
}

/** Says what the binaries ask of a target: the highest of each kind of symbol version. */
function report(arch, tree, binaries) {
  for (const { path, highest } of binaries) {
    const versions = Object.entries(highest).map(([kind, version]) => `${kind}_${version}`);
    process.stdout.write(`${arch} ${path.slice(tree.length + 1)}: ${versions.sort().join(' ')}\n`);
  }
}

function makeFor(arch) {
  const target = TARGETS[arch];
  if (!target) throw new Error(`no packages for ${arch}: there are ${Object.keys(TARGETS).join(' and ')}`);
  const product = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const epoch = sourceDate();
  const work = join(out, `work-${arch}`);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });

  const library = buildLibrary({ root, arch, target, cache, work: join(work, 'native') });
  const dist = join(work, 'dist');
  run(process.execPath, [join(root, 'native/bundle.mjs'), '--packaged', dist]);
  const packages = productionPackages(lock, arch);
  const runtime = { ...target.node, license: 'MIT' };
  const bom = billOfMaterials(product, [...packages, runtime], library.libraries, epoch);
  const tree = join(work, 'tree');
  const text = `${JSON.stringify(bom, null, 2)}\n`;
  layOut({
    ...{ root, to: tree, target, packages, dist, bom: text, cache },
    ...{ library: library.path, libraries: library.libraries },
  });
  report(arch, tree, checkBinaries(tree, target.machine));
  // What the tree lacks shows at once where it can run at all.
  if (arch === process.arch) run(join(tree, HOME, 'imds-tracer'), ['--version']);
  const made = makePackages({
    tree,
    work: join(work, 'format'),
    out,
    version: product.version,
    arch,
    target,
    maintainer: maintainer(),
    epoch,
  });
  const bomPath = join(out, `imds-tracer-${product.version}-linux-${arch}.cdx.json`);
  writeFileSync(bomPath, text);
  rmSync(work, { recursive: true, force: true });
  return [...made, bomPath];
}

function checksum(path) {
  return `${createHash('sha256').update(readFileSync(path)).digest('hex')}  ${basename(path)}\n`;
}

process.umask(0o022);
try {
  const wanted = process.argv.length > 2 ? process.argv.slice(2) : [process.arch];
  const made = wanted.flatMap(makeFor).sort();
  writeFileSync(join(out, 'SHA256SUMS'), made.map(checksum).join(''));
  for (const path of made) process.stdout.write(`${path}\n`);
} catch (error) {
  process.stderr.write(`package: ${error.message}\n`);
  process.exit(1);
}
