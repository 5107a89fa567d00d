// The three kinds of package, each from one laid-out tree, and each the same bytes from the same tree: sorted names, one
// time for all, root as owner.
import {
  cpSync,
  existsSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { run } from './run.mjs';
import { HOME } from './tree.mjs';

const UNIT = 'imds_tracer_tool.service';
const ADMINISTRATORS = '/etc/systemd/system';

/*
 * A package does not start the tracer by itself: which provider it watches is the administrator's to say. An upgrade
 * restarts it where it runs, and touches neither configuration nor logs. A removal stops it and takes back what enabling
 * made, also where there is no systemctl (an image). What `service install` wrote beside that goes with the last trace of the
 * package: rpm knows no purge, so there it goes at once. Only dpkg's purge deletes configuration and logs; the logs are evidence.
 */
const RELOAD = 'if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi';
const RESTART = `if [ -d /run/systemd/system ]; then systemctl try-restart ${UNIT} || true; fi`;
const STOP = `if [ -d /run/systemd/system ]; then systemctl stop ${UNIT} || true; fi
if command -v systemctl >/dev/null 2>&1; then systemctl --no-reload disable ${UNIT} >/dev/null 2>&1 || true; fi`;
/** A link to another unit than the package's is somebody else's. */
const UNLINK = `for link in imds-tracer.service multi-user.target.wants/${UNIT}; do
case "$(readlink "${ADMINISTRATORS}/$link" 2>/dev/null)" in
/usr/lib/systemd/system/${UNIT} | /lib/systemd/system/${UNIT}) rm -f "${ADMINISTRATORS}/$link" ;;
esac
done`;

/** Logs, which systemd keeps in the second for a dynamic user, and the configuration. */
const LEFT_BEHIND = ['/var/log/imds', '/var/log/private/imds', '/etc/imds-tracer'];

/** Removes the settings that `service install` writes beside the unit; an administrator's own stay. */
function forget(tree) {
  const folder = join(tree, HOME, 'systemd');
  const settings = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.conf')) : [];
  const paths = settings.sort().map((name) => ` ${ADMINISTRATORS}/${UNIT}.d/${name}`);
  return `rm -f${paths.join('')}\nrmdir ${ADMINISTRATORS}/${UNIT}.d 2>/dev/null || true`;
}

/** By name, the shell scripts that dpkg runs. */
function debScripts(tree) {
  return {
    postinst: `if [ "$1" = configure ]; then
${RELOAD}
if [ -n "$2" ]; then ${RESTART}; fi
fi`,
    prerm: `if [ "$1" = remove ]; then
${STOP}
fi`,
    postrm: `case "$1" in
remove)
${UNLINK}
${RELOAD}
;;
purge)
${forget(tree)}
rm -rf ${LEFT_BEHIND.join(' ')}
${RELOAD}
;;
esac`,
  };
}

const SUMMARY = 'finds processes that ask the cloud metadata service without a session token';
const DESCRIPTION = `Traces requests to the instance metadata service by eBPF or libpcap, and
names the process behind each, so that an instance can be switched to
token-only access without breaking anything.`;

/** Sets the time of everything below `path`, links included. */
function setTimes(path, epoch) {
  if (lstatSync(path).isDirectory()) for (const entry of readdirSync(path)) setTimes(join(path, entry), epoch);
  lutimesSync(path, epoch, epoch);
}

function environment(epoch) {
  return { ...process.env, SOURCE_DATE_EPOCH: String(epoch), LC_ALL: 'C', TZ: 'UTC', XZ_OPT: '', XZ_DEFAULTS: '' };
}

function deb({ tree, work, out, version, target, maintainer, epoch }) {
  const root = join(work, 'deb');
  cpSync(tree, root, { recursive: true, verbatimSymlinks: true });
  const kib = Number.parseInt(run('du', ['-sk', '--apparent-size', root]), 10);
  mkdirSync(join(root, 'DEBIAN'), { mode: 0o755 });
  const control = {
    Package: 'imds-tracer',
    Version: version,
    Architecture: target.deb,
    Maintainer: maintainer,
    'Installed-Size': String(kib),
    Depends: 'libc6 (>= 2.28), libstdc++6 (>= 7), libgcc-s1 | libgcc1', // the last two: Node.js, koffi
    Recommends: 'iproute2',
    Section: 'admin',
    Priority: 'optional',
    Description: `${SUMMARY}\n${DESCRIPTION.replaceAll(/^/gm, ' ')}`,
  };
  const text = Object.entries(control).map(([name, value]) => `${name}: ${value}\n`);
  writeFileSync(join(root, 'DEBIAN/control'), text.join(''), { mode: 0o644 });
  for (const [name, body] of Object.entries(debScripts(tree))) {
    writeFileSync(join(root, 'DEBIAN', name), `#!/bin/sh\nset -e\n${body}\n`, { mode: 0o755 });
  }
  setTimes(root, epoch);
  const path = join(out, `imds-tracer_${version}_${target.deb}.deb`);
  const options = ['--root-owner-group', '-Zxz', '-z1', '--threads-max=1'];
  run('dpkg-deb', [...options, '--build', root, path], { env: environment(epoch) });
  return path;
}

function rpm({ tree, work, out, version, target, maintainer, epoch }) {
  const top = join(work, 'rpm');
  mkdirSync(top, { recursive: true });
  const spec = `Name: imds-tracer
Version: ${version.replaceAll('-', '~')}
Release: 1
Summary: ${SUMMARY}
License: Apache-2.0
Packager: ${maintainer}
AutoReqProv: no
Requires: glibc >= 2.28
Requires: libstdc++ >= 7
Requires: libgcc
Recommends: iproute
%description
${DESCRIPTION}
%install
mkdir -p %{buildroot}
cp -a ${tree}/. %{buildroot}/
%post
${RELOAD}
%preun
if [ "$1" = 0 ]; then
${STOP}
fi
%postun
if [ "$1" = 0 ]; then
${UNLINK}
${forget(tree)}
fi
${RELOAD}
if [ "$1" -ge 1 ]; then ${RESTART}; fi
%files
%defattr(-,root,root,-)
/${HOME}
/usr/bin/imds-tracer
/usr/lib/systemd/system/*
%doc /usr/share/doc/imds-tracer
`;
  writeFileSync(join(top, 'imds-tracer.spec'), spec);
  const macros = {
    _topdir: top,
    _rpmdir: join(top, 'made'),
    _tmppath: top,
    _buildhost: 'localhost',
    _binary_payload: 'w1.xzdio', // what rpm 4.14 of RHEL 8 and Alibaba Cloud Linux 3 surely reads
    _build_id_links: 'none',
    __os_install_post: '%{nil}', // no stripping: the binaries are as published
    debug_package: '%{nil}',
    use_source_date_epoch_as_buildtime: '1',
    clamp_mtime_to_source_date_epoch: '1',
    source_date_epoch_from_changelog: '0',
  };
  const defines = Object.entries(macros).flatMap(([name, value]) => ['--define', `${name} ${value}`]);
  const name = ['--target', `${target.rpm}-linux`, '-bb', '--quiet', join(top, 'imds-tracer.spec')];
  setTimes(tree, epoch);
  run('rpmbuild', [...defines, ...name], { env: environment(epoch) });
  const folder = join(top, 'made', target.rpm);
  const [file] = readdirSync(folder);
  const path = join(out, file);
  cpSync(join(folder, file), path);
  return path;
}

function tarball({ tree, work, out, version, arch, epoch }) {
  const name = `imds-tracer-${version}-linux-${arch}`;
  const folder = join(work, 'tar');
  mkdirSync(folder, { recursive: true });
  cpSync(join(tree, HOME), join(folder, name), { recursive: true, verbatimSymlinks: true });
  const path = join(out, `${name}.tar.xz`);
  const metadata = ['--format=gnu', '--sort=name', `--mtime=@${epoch}`, '--owner=0', '--group=0', '--numeric-owner'];
  const part = `${path}.part`;
  run('tar', ['-C', folder, ...metadata, '--use-compress-program=xz -1 -T1', '-cf', part, name], {
    env: environment(epoch),
  });
  renameSync(part, path);
  return path;
}

/** By name; each makes one file of `{ tree, work, out, version, arch, target, maintainer, epoch }` and gives its path. */
export const FORMATS = { deb, rpm, tarball };

/** Makes every format; `work` is a folder of its own, deleted before and after. */
export function makePackages(context) {
  return Object.values(FORMATS).map((make) => {
    rmSync(context.work, { recursive: true, force: true });
    mkdirSync(context.work, { recursive: true });
    try {
      return make(context);
    } finally {
      rmSync(context.work, { recursive: true, force: true });
    }
  });
}
