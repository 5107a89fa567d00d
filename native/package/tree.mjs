// The files of a package, laid out as on the target.
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { unpacked } from './registry.mjs';

/** Where everything lives; the tarball is this folder. */
export const HOME = 'usr/lib/imds-tracer';

/** Folders of npm packages that nothing loads: vendored headers, documents, tests; and binaries for another C library. */
const UNUSED = /^(vendor|doc|docs|test|tests|__tests__|bench|benchmarks|examples|browser|musl_[a-z0-9]+|\..*)$/;

/** npm's lists of what a package runs on: none for everything, `!x` for everything but x. */
function suits(list, wanted) {
  if (list === undefined || list.includes(wanted)) return true;
  return !list.includes(`!${wanted}`) && list.every((entry) => entry.startsWith('!'));
}

/**
 * The npm packages that run on the target, of package-lock.json.
 * @returns {{ path: string, name: string, version: string, license: string, integrity: string }[]} sorted
 */
export function productionPackages(lock, arch) {
  return (
    Object.entries(lock.packages)
      // devOptional: of the tests, and an optional one of the program; npm install --omit=dev has it too.
      .filter(([path, entry]) => path !== '' && !entry.dev)
      .filter(([, { os, cpu, libc }]) => suits(os, 'linux') && suits(cpu, arch) && suits(libc, 'glibc'))
      .map(([path, { name, version, license, integrity }]) => ({
        path,
        name: name ?? path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length),
        version,
        license,
        integrity,
      }))
      .sort((a, b) => (a.path < b.path ? -1 : 1))
  );
}

/** What systemd takes from a package's folder of units; the other files in systemd/ are templates of `service install`. */
const UNIT = /\.(service|socket|timer|path|slice)$/;

/** What the program brings besides what is built: `files` of package.json. */
function ownFiles(root) {
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return files.filter((file) => !/^(dist|build)(\/|$)/.test(file));
}

/** Copies a package of npm, without what nothing loads. */
function copyPackage(from, to) {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from)) {
    if (entry === 'node_modules' || UNUSED.test(entry)) continue;
    if (/\.(md|map|d\.ts|d\.cts|d\.mts)$/.test(entry) && !/licen/i.test(entry)) continue;
    cpSync(join(from, entry), join(to, entry), { recursive: true, dereference: true });
  }
}

/** A shell script that starts the bundled Node.js with the options of the program's own first line. */
function launcher(main) {
  const options = /^#!\/usr\/bin\/env -S node ?(.*)\n/.exec(main)?.[1];
  if (options === undefined) throw new Error('dist/cli/main.js has no first line that says how Node is to be started');
  return `#!/bin/sh
# Works from wherever the folder lies, also through a link.
self=$(readlink -f "$0")
home=\${self%/*}
# Settings meant for other Node.js programs are none of the tracer's.
unset NODE_OPTIONS NODE_PATH
exec "$home/bin/node" ${options} "$home/dist/cli/main.js" "$@"
`;
}

/** Every file and folder gets one of two modes, whatever the builder's umask. */
function normaliseModes(path) {
  const stat = statSync(path);
  if (stat.isDirectory()) {
    chmodSync(path, 0o755);
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (!entry.isSymbolicLink()) normaliseModes(join(path, entry.name));
    }
  } else {
    chmodSync(path, (stat.mode & 0o111) === 0 ? 0o644 : 0o755);
  }
}

/**
 * Lays out a package in the empty folder `to`.
 * @param {string} library path of the native library
 * @param {string} dist folder of the program
 * @param {string} bom the bill of materials
 * @param {{ name: string, copyright: string }[]} libraries linked into the native library, with their copyright files
 */
export function layOut({ root, to, target, packages, library, libraries, dist, bom, cache }) {
  const home = join(to, HOME);
  const put = (from, path) => {
    mkdirSync(dirname(join(to, path)), { recursive: true });
    cpSync(from, join(to, path), { recursive: true });
  };
  const write = (path, text, mode = 0o644) => {
    mkdirSync(dirname(join(to, path)), { recursive: true });
    writeFileSync(join(to, path), text, { mode });
  };

  const node = unpacked(target.node, cache);
  put(join(node, 'bin/node'), `${HOME}/bin/node`);
  put(join(node, 'LICENSE'), `${HOME}/bin/LICENSE.node`);
  for (const wanted of packages) {
    const installed = join(root, wanted.path);
    const there = statSync(installed, { throwIfNoEntry: false })?.isDirectory();
    copyPackage(there ? installed : unpacked(wanted, cache), join(home, wanted.path));
  }
  put(dist, `${HOME}/dist`);
  put(library, `${HOME}/build/Release/imds_capture.so`);
  for (const file of ['package.json', ...ownFiles(root)]) put(join(root, file), `${HOME}/${file}`);
  put(join(root, 'native/LICENSE.GPL-2.0'), `${HOME}/LICENSE.GPL-2.0`);
  for (const { name, copyright } of libraries) put(copyright, `${HOME}/build/Release/LICENSES/${name}`);
  write(`${HOME}/sbom.cdx.json`, bom);
  write(`${HOME}/imds-tracer`, launcher(readFileSync(join(dist, 'cli/main.js'), 'utf8')), 0o755);

  mkdirSync(join(to, 'usr/bin'), { recursive: true });
  symlinkSync('../lib/imds-tracer/imds-tracer', join(to, 'usr/bin/imds-tracer'));
  for (const file of readdirSync(join(root, 'systemd')).filter((name) => UNIT.test(name))) {
    put(join(root, 'systemd', file), `usr/lib/systemd/system/${basename(file)}`);
  }
  const documents = 'usr/share/doc/imds-tracer';
  put(join(root, 'README.md'), `${documents}/README.md`);
  put(join(root, 'docs'), `${documents}/docs`);
  put(join(root, 'deploy'), `${documents}/deploy`);
  for (const file of ['config.yaml', 'config.schema.json']) put(join(root, 'systemd', file), `${documents}/${file}`);
  write(
    `${documents}/copyright`,
    `${readFileSync(join(root, 'NOTICE'), 'utf8')}\n${readFileSync(join(root, 'LICENSE'), 'utf8')}`,
  );
  normaliseModes(to);
}
