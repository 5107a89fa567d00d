import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/package-root.js';
import { DROP_INS, type DropIn, ServiceFiles } from '../../src/service/install.js';
import { renderUnit, UNIT } from '../../src/service/unit.js';

const folder = join(packageRoot(), 'systemd');
const templates = {
  unit: readFileSync(join(folder, UNIT), 'utf8'),
  dropIns: Object.fromEntries(DROP_INS.map((name) => [name, readFileSync(join(folder, name), 'utf8')])) as Record<
    DropIn,
    string
  >,
};
const UNITS = '/etc/systemd/system';
const CHECKOUT = { node: '/usr/local/bin/node', root: '/srv/imds-tracer' };
const PACKAGE = { node: '/usr/lib/imds-tracer/bin/node', root: '/usr/lib/imds-tracer' };

const NONE: ReadonlySet<DropIn> = new Set();

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'imds-service-'));
  for (const program of [CHECKOUT, PACKAGE]) {
    put(program.node, '');
    put(`${program.root}/dist/cli/main.js`, '');
  }
});
afterEach(() => rmSync(root, { recursive: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

/** All below /etc, with what links point to. */
function etc(): Record<string, string> {
  const at = join(root, 'etc');
  if (!existsSync(at)) return {};
  const found = readdirSync(at, { recursive: true, encoding: 'utf8' }).map((name) => join(at, name));
  const files = found.filter((path) => !lstatSync(path).isDirectory());
  return Object.fromEntries(
    files.map((path) => [
      path.slice(root.length),
      lstatSync(path).isSymbolicLink() ? `-> ${readlinkSync(path)}` : readFileSync(path, 'utf8'),
    ]),
  );
}

const service = (program = CHECKOUT): ServiceFiles => new ServiceFiles(root, program, templates);

describe('service files', () => {
  it('installs twice as once, and leaves nothing behind', () => {
    expect(service().install(NONE).paths).toHaveLength(3);
    const after = etc();
    expect(Object.keys(after).sort()).toEqual([
      `${UNITS}/imds-tracer.service`,
      `${UNITS}/${UNIT}`,
      `${UNITS}/multi-user.target.wants/${UNIT}`,
    ]);
    expect(after[`${UNITS}/imds-tracer.service`]).toBe(`-> ${UNITS}/${UNIT}`);
    expect(after[`${UNITS}/${UNIT}`]).toContain('ExecStart=/usr/local/bin/node --max-semi');
    expect(after[`${UNITS}/${UNIT}`]).toContain(' /srv/imds-tracer/dist/cli/main.js trace --quiet');
    expect(after[`${UNITS}/${UNIT}`]).not.toContain('/usr/lib/imds-tracer');
    expect(lstatSync(join(root, UNITS, UNIT)).mode & 0o777).toBe(0o644);
    expect(service().look()).toEqual({ unit: `${UNITS}/${UNIT}`, enabled: true, outdated: false });

    expect(service().install(NONE).paths).toEqual([]);
    expect(etc()).toEqual(after);

    expect(service().uninstall().paths).toHaveLength(3);
    expect(etc()).toEqual({});
    expect(service().uninstall().paths).toEqual([]);
    expect(service().look()).toEqual({ enabled: false, outdated: false });
  });

  it.each(DROP_INS)('adds %s, takes it away again, and keeps an administrator’s own settings', (name) => {
    const own = `${UNITS}/${UNIT}.d/memory.conf`;
    put(own, '[Service]\nMemoryMax=1G\n');
    expect(service().install(new Set([name])).paths).toContain(`${UNITS}/${UNIT}.d/${name}`);
    expect(service().install(NONE).paths).toEqual([`${UNITS}/${UNIT}.d/${name}`]);
    service().install(new Set([name]));
    service().uninstall();
    expect(Object.keys(etc())).toEqual([own]);
  });

  it('mends a unit that was changed, and says before that it is outdated', () => {
    service().install(NONE);
    put(`${UNITS}/${UNIT}`, '[Service]\nExecStart=/bin/false\n');
    expect(service().look().outdated).toBe(true);
    expect(service().install(NONE).paths).toEqual([`${UNITS}/${UNIT}`]);
    expect(service().look().outdated).toBe(false);
  });

  it.each(['/usr/lib/systemd/system', '/lib/systemd/system'])('only enables a package’s own unit in %s', (units) => {
    put(`${units}/${UNIT}`, templates.unit);
    service(PACKAGE).install(NONE);
    expect(etc()[`${UNITS}/${UNIT}`]).toBeUndefined();
    expect(etc()[`${UNITS}/multi-user.target.wants/${UNIT}`]).toBe(`-> ${units}/${UNIT}`);
    service(PACKAGE).uninstall();
    expect(etc()).toEqual({});
    expect(existsSync(join(root, units, UNIT))).toBe(true);
  });

  it('knows the links of systemctl enable, which may name a merged /lib, as its own', () => {
    for (const units of ['/usr/lib/systemd/system', '/lib/systemd/system']) put(`${units}/${UNIT}`, templates.unit);
    for (const link of ['imds-tracer.service', `multi-user.target.wants/${UNIT}`]) {
      mkdirSync(dirname(join(root, UNITS, link)), { recursive: true });
      symlinkSync(`/lib/systemd/system/${UNIT}`, join(root, UNITS, link));
    }
    expect(service(PACKAGE).look().enabled).toBe(true);
    expect(service(PACKAGE).install(NONE).paths).toEqual([]);
  });

  it('a package takes over from a checkout', () => {
    service().install(NONE);
    put(`/usr/lib/systemd/system/${UNIT}`, templates.unit);
    service(PACKAGE).install(NONE);
    expect(service(PACKAGE).look()).toEqual({
      unit: `/usr/lib/systemd/system/${UNIT}`,
      enabled: true,
      outdated: false,
    });
  });

  it('makes no directory where a link of the image leads', () => {
    const outside = mkdtempSync(join(tmpdir(), 'imds-service-outside-'));
    try {
      mkdirSync(join(root, 'etc'));
      symlinkSync(outside, join(root, 'etc/systemd'));
      expect(() => service().install(NONE)).toThrow(/leads out of/);
      expect(readdirSync(outside)).toEqual([]);
    } finally {
      rmSync(outside, { recursive: true });
    }
  });

  it.each([
    ['a FIFO', (path: string) => execFileSync('mkfifo', [path])],
    ['a device without an end', (path: string) => symlinkSync('/dev/zero', path)],
  ])('is not kept waiting by %s in the place of the unit', (_, make) => {
    mkdirSync(join(root, UNITS), { recursive: true });
    make(join(root, UNITS, UNIT));
    expect(() => service().look()).toThrow(/is no file/);
  });

  it('names the program by the image’s own path where it was started from outside', () => {
    new ServiceFiles(root, { node: root + CHECKOUT.node, root: root + CHECKOUT.root }, templates).install(NONE);
    expect(etc()[`${UNITS}/${UNIT}`]).toContain(`ExecStart=${CHECKOUT.node} `);
  });

  it('does not install a program that the image has not', () => {
    expect(() => service({ node: '/usr/bin/node', root: '/elsewhere' }).install(NONE)).toThrow(
      /there is no \/usr\/bin\/node/,
    );
    expect(etc()).toEqual({});
  });

  it('an image whose links lead out of it gets nothing written outside', () => {
    const outside = mkdtempSync(join(tmpdir(), 'imds-outside-'));
    try {
      mkdirSync(join(root, 'etc/systemd'), { recursive: true });
      symlinkSync(outside, join(root, UNITS));
      expect(() => service().install(NONE)).toThrow(/leads out of/);
      expect(readdirSync(outside)).toEqual([]);
    } finally {
      rmSync(outside, { recursive: true });
    }
  });
});

describe('unit', () => {
  it('is as it lies there for the package', () => {
    expect(renderUnit(templates.unit, PACKAGE)).toBe(templates.unit);
  });

  it('makes a checkout in a home visible, and of the homes only that', () => {
    const unit = renderUnit(templates.unit, { node: '/root/.nvm/bin/node', root: '/home/ann/imds-tracer' });
    expect(unit).toContain(
      'ProtectHome=tmpfs\nBindReadOnlyPaths=/root/.nvm/bin/node\nBindReadOnlyPaths=/home/ann/imds-tracer\n',
    );
    expect(unit).not.toContain('ProtectHome=yes');
  });

  it.each(['/a b', '/a%n', '/a$HOME', '/a"b', '/a\nExecStartPre=/bin/sh', 'relative', '/a:b'])(
    'refuses the path %j, which systemd would read otherwise',
    (path) => {
      expect(() => renderUnit(templates.unit, { node: path, root: '/srv/x' })).toThrow(/can't stand in a systemd unit/);
      expect(() => renderUnit(templates.unit, { node: '/n', root: path })).toThrow(/can't stand in a systemd unit/);
    },
  );

  const analyze = spawnSync('systemd-analyze', ['--version']).status === 0;
  it.skipIf(!analyze)('has an exposure of at most 2.0 by systemd-analyze', () => {
    const { status, stdout, stderr } = spawnSync(
      'systemd-analyze',
      ['security', '--offline=true', '--threshold=20', '--no-pager', join(folder, UNIT)],
      { encoding: 'utf8' },
    );
    expect(`${stdout}${stderr}`).toContain('Overall exposure level');
    expect(status, stdout).toBe(0);
  });

  it.skipIf(!analyze)('has no setting that systemd does not know', () => {
    put(`/check/${UNIT}`, renderUnit(templates.unit, { node: process.execPath, root: packageRoot() }));
    const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', join(root, 'check', UNIT)], {
      encoding: 'utf8',
    });
    expect(stderr.split('\n').filter((line) => line.includes(UNIT) && !line.includes('man'))).toEqual([]);
  });
});
