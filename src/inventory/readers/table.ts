import type { Scan } from '../scan.js';
import type { Directory } from '../walk.js';
import { readCloudInitVersion, readDataSource } from './cloud-init.js';
import { readComposer } from './composer.js';
import { readAwsCli, readExecutable } from './executable.js';
import { readGem } from './gem.js';
import { readJar } from './jar.js';
import { readNpmLock, readNpmPackage, readYarnArchive } from './npm.js';
import { isDpkgPart, readApk, readDpkg, readRpm } from './packages.js';
import { readPip } from './pip.js';
import { readScript } from './script.js';

/** Reads a file that may be of a client. Names are latin1 strings; adds what it finds to the scan, and never throws. */
export type Reader = (scan: Scan, directory: Directory, name: string) => undefined | Promise<void>;

const BY_NAME: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ['METADATA', readPip],
  ['PKG-INFO', readPip],
  ['package.json', readNpmPackage],
  ['.package-lock.json', readNpmLock],
  ['installed.json', readComposer],
  ['DataSourceAliYun.py', readDataSource],
  ['DataSourceEc2.py', readDataSource],
  ['version.py', readCloudInitVersion],
  ['status', readDpkg],
  ['installed', readApk],
  ['rpmdb.sqlite', readRpm],
  ['Packages', readRpm],
  ['Packages.db', readRpm],
  ['aws', readAwsCli],
  ['crontab', readScript],
  ['rc.local', readScript],
  ['Makefile', readScript],
  ['Dockerfile', readScript],
]);

const each = (names: string, reader: Reader): [string, Reader][] => names.split(' ').map((name) => [name, reader]);

/** What is never a program: not worth a look at its mode. */
const NO_READER: Reader = () => undefined;

const BY_EXTENSION: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ...each('jar war ear rar hpi jpi', readJar),
  ['zip', readYarnArchive],
  ['gemspec', readGem],
  ['egg-info', readPip],
  ...each(
    'sh bash zsh ksh csh py rb pl pm php js mjs cjs lua tcl service timer path cron profile bashrc bash_profile',
    readScript,
  ),
  ...each(
    'c h cc cpp hpp o a d ts tsx jsx map css scss less html htm xml json jsonl yaml yml toml ini cfg conf md rst txt log csv ' +
      'tsv pyc pyi pyx pxd class java kt scala groovy go rs svg png jpg jpeg gif ico webp woff woff2 ttf otf eot pdf gz bz2 ' +
      'xz zst lz4 tar tgz 7z deb rpm whl mo po pot list md5sums postinst prerm pem crt key pub lock sum mod tmpl template ' +
      'ko dll lib pdb db sqlite idx pack rev snap sock pid mp3 mp4 wav ogg la pc cmake in am m4 vim el elc tex bib inc',
    NO_READER,
  ),
]);

/** Directories whose files are scripts without an extension and without permission to be run. */
const SCRIPT_DIRECTORIES: ReadonlySet<string> = new Set(
  'cron.d crontabs profile.d init.d network-scripts per-boot per-instance per-once'.split(' '),
);

/** The reader of a file, by its name and directory; a program has no certain name. */
export function readerOf(directory: Directory, name: string): Reader {
  const named = BY_NAME.get(name);
  if (named !== undefined) return named;
  const dot = name.lastIndexOf('.');
  const typed = dot < 0 ? undefined : BY_EXTENSION.get(name.slice(dot + 1));
  if (typed !== undefined) return typed;
  if (SCRIPT_DIRECTORIES.has(directory.name)) return readScript;
  if (isDpkgPart(directory)) return readDpkg;
  // Git's objects are files without extension by the thousands, and never a program.
  return directory.library && directory.path.includes('/.git/') ? NO_READER : readExecutable;
}
