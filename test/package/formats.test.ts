import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// Plain JavaScript that needs no build; its types are these.
const load = (name: string) => import(new URL(`../../native/package/${name}.mjs`, import.meta.url).href);
type Context = Record<string, unknown>;
const { FORMATS } = (await load('formats')) as { FORMATS: Record<string, (context: Context) => string> };
const { TARGETS } = (await load('targets')) as { TARGETS: Record<string, { node: { integrity: string } }> };

const EPOCH = 1_700_000_000;
const MAINTAINER = 'A Maintainer <a@b.example>';
const has = (command: string) => spawnSync(command, ['--version']).error === undefined;
const TOOL: Record<string, string> = { deb: 'dpkg-deb', rpm: 'rpmbuild', tarball: 'xz' };
const LIST: Record<string, (path: string) => string> = {
  deb: (path) => spawnSync('dpkg-deb', ['-c', path], { encoding: 'utf8' }).stdout,
  rpm: (path) => spawnSync('rpm', ['-qplv', path], { encoding: 'utf8' }).stdout,
  tarball: (path) => spawnSync('tar', ['-tvf', path], { encoding: 'utf8' }).stdout,
};

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'package-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A small tree of the shape of a package; `names` in the order in which the files are created. */
function makeTree(path: string, names: string[], time: number) {
  const home = join(path, 'usr/lib/imds-tracer');
  for (const dir of [
    home,
    join(path, 'usr/bin'),
    join(path, 'usr/lib/systemd/system'),
    join(path, 'usr/share/doc/imds-tracer'),
  ]) {
    mkdirSync(dir, { recursive: true });
  }
  for (const name of names) {
    writeFileSync(join(home, name), `content of ${name}`, { mode: 0o755 });
    utimesSync(join(home, name), time, time);
  }
  symlinkSync('../lib/imds-tracer/imds-tracer', join(path, 'usr/bin/imds-tracer'));
  writeFileSync(join(path, 'usr/lib/systemd/system/imds_tracer_tool.service'), '[Unit]\n');
  writeFileSync(join(path, 'usr/share/doc/imds-tracer/copyright'), 'text');
}

function make(format: string, run: string, names: string[], time: number): string {
  const context = { tree: join(folder, run, 'tree'), work: join(folder, run, format), out: join(folder, run) };
  rmSync(join(folder, run), { recursive: true, force: true });
  makeTree(context.tree, names, time);
  mkdirSync(context.work, { recursive: true });
  return FORMATS[format]!({
    ...context,
    version: '1.2.3',
    arch: 'x64',
    target: TARGETS['x64'],
    maintainer: MAINTAINER,
    epoch: EPOCH,
  });
}

const digest = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');

describe.each(Object.keys(TOOL))('%s', (format) => {
  const test = has(TOOL[format]!) ? it : it.skip;

  test('two builds in other folders, at other times, give the same bytes', () => {
    const first = make(format, 'one', ['imds-tracer', 'a', 'b'], 1_600_000_000);
    const second = make(format, 'another', ['b', 'a', 'imds-tracer'], EPOCH + 40_000_000);
    expect(basename(second)).toBe(basename(first));
    expect(digest(second)).toBe(digest(first));
  });

  test('everything belongs to root, and a changed file changes the bytes', () => {
    const path = make(format, 'one', ['imds-tracer', 'a'], 1_600_000_000);
    const lines = LIST[format]!(path).trim().split('\n');
    expect(lines.some((line) => line.includes('imds-tracer/imds-tracer') || line.endsWith('/imds-tracer'))).toBe(true);
    for (const line of lines) expect(line).toMatch(/\s(root\/root|root\s+root|0\/0)\s/);
    expect(digest(make(format, 'other', ['imds-tracer', 'a', 'c'], 1_600_000_000))).not.toBe(digest(path));
  });
});

describe('removal', () => {
  const repository = new URL('../../', import.meta.url).pathname;
  const test = has('dpkg-deb') && has('rpmbuild') ? it : it.skip;

  /** The scripts that run when a package with the project's own systemd/ goes, by format. */
  function removalScripts(): Record<string, string> {
    const tree = join(folder, 'removal/tree');
    rmSync(join(folder, 'removal'), { recursive: true, force: true });
    makeTree(tree, ['imds-tracer'], EPOCH);
    cpSync(join(repository, 'systemd'), join(tree, 'usr/lib/imds-tracer/systemd'), { recursive: true });
    const scripts: Record<string, string> = {};
    for (const format of ['deb', 'rpm']) {
      const context = { tree, work: join(folder, 'removal', format), out: join(folder, 'removal') };
      mkdirSync(context.work, { recursive: true });
      const more = { version: '1.2.3', arch: 'x64', target: TARGETS['x64'], maintainer: MAINTAINER, epoch: EPOCH };
      const path = FORMATS[format]!({ ...context, ...more });
      const [command, ...args] = { deb: ['dpkg-deb', '-I', path, 'postrm'], rpm: ['rpm', '-qp', '--scripts', path] }[
        format
      ] as string[];
      scripts[format] = spawnSync(command!, args, { encoding: 'utf8' }).stdout;
    }
    return scripts;
  }

  test('takes back every file that the service command may have written, and a purge what the unit may have', () => {
    const { deb, rpm } = removalScripts();
    for (const name of readdirSync(join(repository, 'systemd')).filter((file) => file.endsWith('.conf'))) {
      const written = ` /etc/systemd/system/imds_tracer_tool.service.d/${name}`;
      expect(deb).toContain(written);
      expect(rpm).toContain(written);
    }
    const unit = readFileSync(join(repository, 'systemd/imds_tracer_tool.service'), 'utf8');
    const places: Record<string, string> = { Logs: '/var/log', State: '/var/lib', Cache: '/var/cache' };
    const folders = [...unit.matchAll(/^(Logs|State|Cache)Directory=(\S+)$/gm)];
    expect(folders.length).toBeGreaterThan(0);
    for (const [, kind, name] of folders) {
      expect(deb).toContain(` ${places[kind!]}/${name} `);
      expect(deb).toContain(` ${places[kind!]}/private/${name} `);
    }
    expect(rpm).not.toContain('/var/log');
  });

  test('the scripts are what a POSIX shell can read', () => {
    for (const script of Object.values(removalScripts())) {
      const body = script.replaceAll(
        /^(preinstall|postinstall|preuninstall|postuninstall) (scriptlet|program).*$/gm,
        '',
      );
      expect(spawnSync('sh', ['-n'], { input: body, encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
    }
  });
});

describe('tree', () => {
  const lock = {
    packages: {
      '': { name: 'imds-tracer' },
      'node_modules/b': { version: '2.0.0', license: 'MIT', integrity: 'sha512-AA==' },
      'node_modules/@s/a': { version: '1.0.0', integrity: 'sha512-AA==' },
      'node_modules/tests-only': { version: '1.0.0', dev: true },
      'node_modules/for-arm': { version: '1.0.0', os: ['linux'], cpu: ['arm64'], optional: true },
      'node_modules/for-mac': { version: '1.0.0', os: ['darwin'], cpu: ['x64'], optional: true },
      'node_modules/for-musl': { version: '1.0.0', libc: ['musl'] },
      'node_modules/not-for-mac': { version: '1.0.0', os: ['!darwin'] },
      'node_modules/not-for-linux': { version: '1.0.0', os: ['!linux'] },
      'node_modules/also-for-tests': { version: '1.0.0', devOptional: true },
      'node_modules/b/node_modules/c': { version: '3.0.0' },
    },
  };

  it('takes the packages that run on the target, and none of the tests', async () => {
    const { productionPackages } = (await load('tree')) as {
      productionPackages: (lock: unknown, arch: string) => { name: string }[];
    };
    const names = (arch: string) => productionPackages(lock, arch).map(({ name }) => name);
    expect(names('x64')).toEqual(['@s/a', 'also-for-tests', 'b', 'c', 'not-for-mac']);
    expect(names('arm64')).toEqual(['@s/a', 'also-for-tests', 'b', 'c', 'for-arm', 'not-for-mac']);
  });

  it('the bill of materials names what is bundled and linked, with checksums, and holds no time but the given', async () => {
    const { billOfMaterials } = (await load('sbom')) as {
      billOfMaterials: (...args: unknown[]) => {
        components: Record<string, unknown>[];
        metadata: { timestamp: string };
      };
    };
    const product = { name: 'imds-tracer', version: '1.2.3', license: 'Apache-2.0' };
    const npm = [{ name: '@s/a', version: '1.0.0', license: 'MIT', integrity: 'sha512-AQI=' }];
    const bom = billOfMaterials(product, npm, [{ name: 'zlib', version: '1:1.2', license: 'Zlib' }], EPOCH);
    expect(bom.metadata.timestamp).toBe('2023-11-14T22:13:20.000Z');
    expect(bom.components).toMatchObject([
      { name: 'zlib', purl: 'pkg:deb/debian/zlib@1%3A1.2?arch=source', licenses: [{ expression: 'Zlib' }] },
      { name: '@s/a', purl: 'pkg:npm/%40s/a@1.0.0', hashes: [{ alg: 'SHA-512', content: '0102' }] },
    ]);
  });
});

describe('binaries', () => {
  const elf = () =>
    load('elf') as Promise<{
      requirements: (path: string) => { needed: string[]; highest: Record<string, string> };
      checkBinaries: (folder: string, machine: number) => { highest: Record<string, string> }[];
    }>;
  const MACHINE = { x64: 62, arm64: 183 }[process.arch as string] ?? 0;

  /** A shared library of one C file in a folder of its own, and beside it a file that is no ELF. */
  function library(name: string, source: string, ...options: string[]): string {
    const dir = join(folder, name);
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, 'source.c'), source);
    writeFileSync(join(dir, 'short'), 'ELF');
    const made = join(dir, 'made.so');
    const args = ['-shared', '-fPIC', '-nostartfiles', join(dir, 'source.c'), '-o', made, ...options];
    expect(spawnSync('gcc', args, { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
    return dir;
  }

  it('tells the highest symbol version of each kind, and the libraries', async () => {
    const { requirements, checkBinaries } = await elf();
    const dir = library('old', 'extern int puts(const char *); int f(void) { return puts("x"); }');
    const oldest = process.arch === 'arm64' ? '2.17' : '2.2.5';
    expect(requirements(join(dir, 'made.so'))).toEqual({ needed: ['libc.so.6'], highest: { GLIBC: oldest } });
    expect(checkBinaries(dir, MACHINE)).toMatchObject([{ highest: { GLIBC: oldest } }]);
    expect(requirements(process.execPath).highest['GLIBC']).toMatch(/^2\.(2[89]|3\d)$/);
  });

  it('refuses another processor, a library that targets may not have, and a newer C library', async () => {
    const { checkBinaries } = await elf();
    expect(() => checkBinaries(library('plain', 'int f;'), MACHINE + 1)).toThrow(/is for machine/);
    const z = library('z', 'const char *zlibVersion(void); const char *f(void) { return zlibVersion(); }', '-lz');
    expect(() => checkBinaries(z, MACHINE)).toThrow(/needs libz\.so\.1, which a target may not have/);
    // __libc_start_main got a new version with glibc 2.34.
    const start = 'extern int __libc_start_main(void); int f(void) { return __libc_start_main(); }';
    const run = () => checkBinaries(library('new', start), MACHINE);
    if (/2\.(3[4-9]|[4-9]\d)\s*$/m.test(spawnSync('ldd', ['--version'], { encoding: 'utf8' }).stdout)) {
      expect(run).toThrow(/needs GLIBC_2\.34; the packages promise 2\.28/);
    } else {
      expect(run).not.toThrow();
    }
  });
});
