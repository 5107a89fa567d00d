import type { ClientKind } from '../advice/clients.js';

/**
 * Comparing versions as the package managers do. Each takes any text: what is no number counts as a word, and nothing throws.
 * The result is negative where `a` is older, positive where it is newer, 0 where they are the same.
 */
type Compare = (a: string, b: string) => number;

/** Longer texts are no versions; the comparison of what a hostile file gives stays short. */
const MAX_LENGTH = 200;

const bounded =
  (compare: Compare): Compare =>
  (a, b) =>
    compare(a.slice(0, MAX_LENGTH).trim(), b.slice(0, MAX_LENGTH).trim());

/** Decimal digits of any length, without leading zeros. */
function compareNumbers(a: string, b: string): number {
  const left = a.replace(/^0+(?=\d)/, '');
  const right = b.replace(/^0+(?=\d)/, '');
  return left.length - right.length || compareText(left, right);
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const compareLists = (a: readonly string[], b: readonly string[], compare: Compare, missing: string): number => {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const order = compare(a[i] ?? missing, b[i] ?? missing);
    if (order !== 0) return order;
  }
  return 0;
};

/**
 * Semantic Versioning 2.0.0, section 11; also Go's modules, and Composer's with less or more than three numbers. A leading
 * `v` is passed over, as is what follows `+`.
 */
export const compareSemver = bounded((a, b) => {
  const left = splitSemver(a);
  const right = splitSemver(b);
  const release = compareLists(left.numbers, right.numbers, compareNumbers, '0');
  if (release !== 0) return release;
  // A version that has a prerelease comes before the one that has none.
  if (left.prerelease === '' || right.prerelease === '') {
    return Number(left.prerelease === '') - Number(right.prerelease === '');
  }
  const one = left.prerelease.split('.');
  const other = right.prerelease.split('.');
  for (let i = 0; i < Math.min(one.length, other.length); i++) {
    const order = compareIdentifiers(one[i]!, other[i]!);
    if (order !== 0) return order;
  }
  return one.length - other.length;
});

function splitSemver(text: string): { numbers: string[]; prerelease: string } {
  const bare = text.replace(/^[vV=]+/, '').replace(/\+.*$/s, '');
  const dash = bare.indexOf('-');
  const core = dash < 0 ? bare : bare.slice(0, dash);
  const numbers = core.split('.').map((part) => /^\d+/.exec(part)?.[0] ?? '0');
  // Composer and npm's older packages write `1.0.0beta1` too.
  const attached = /^[\d.]*\d([a-zA-Z].*)$/.exec(core)?.[1];
  return { numbers, prerelease: dash < 0 ? (attached ?? '') : bare.slice(dash + 1) };
}

function compareIdentifiers(a: string, b: string): number {
  const isNumber = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (isNumber[0] && isNumber[1]) return compareNumbers(a, b);
  if (isNumber[0] !== isNumber[1]) return isNumber[0] ? -1 : 1;
  return compareText(a, b);
}

/** PEP 440: epoch, release, pre-, post- and developmental releases; local versions do not count. */
export const comparePep440 = bounded((a, b) => {
  const left = splitPep440(a);
  const right = splitPep440(b);
  return (
    compareNumbers(left.epoch, right.epoch) ||
    compareLists(left.release, right.release, compareNumbers, '0') ||
    compareLists(left.stages, right.stages, compareNumbers, '0')
  );
});

const PEP440 =
  /^v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?(\d*))?(?:-(\d+)|[-_.]?(?:post|rev|r)[-_.]?(\d*))?(?:[-_.]?(dev)[-_.]?(\d*))?(?:\+.*)?$/s;
const PRERELEASE: Readonly<Record<string, string>> = {
  a: '1',
  alpha: '1',
  b: '2',
  beta: '2',
  c: '3',
  rc: '3',
  pre: '3',
  preview: '3',
};

/** `stages`: what comes in which order within a release, as numbers (packaging's `_cmpkey`). */
function splitPep440(text: string): { epoch: string; release: string[]; stages: string[] } {
  const match = PEP440.exec(text.toLowerCase());
  if (match === null) {
    const { numbers, prerelease } = splitSemver(text);
    return { epoch: '0', release: numbers, stages: [prerelease === '' ? '4' : '0'] };
  }
  const [, epoch, release, pre, preNumber, postDash, post, dev, devNumber] = match;
  const isPost = postDash !== undefined || post !== undefined;
  // A developmental release of the release itself comes before its prereleases.
  const stage = pre === undefined ? (dev !== undefined && !isPost ? '0' : '4') : PRERELEASE[pre]!;
  return {
    epoch: epoch ?? '0',
    release: release!.split('.'),
    stages: [
      stage,
      preNumber || '0',
      isPost ? '1' : '0',
      (postDash ?? post) || '0',
      dev === undefined ? '1' : '0',
      dev === undefined ? '0' : devNumber || '0',
    ],
  };
}

/**
 * Debian Policy 5.6.12: epoch, upstream version, revision, `~` before everything. RPM's rpmvercmp agrees with it on all that
 * versions of the known clients are made of.
 */
export const compareDebian = bounded((a, b) => {
  const left = splitDebian(a);
  const right = splitDebian(b);
  return (
    compareNumbers(left.epoch, right.epoch) ||
    compareDebianPart(left.upstream, right.upstream) ||
    compareDebianPart(left.revision, right.revision)
  );
});

function splitDebian(text: string): { epoch: string; upstream: string; revision: string } {
  const [, epoch, rest] = /^(?:(\d+):)?(.*)$/s.exec(text)!;
  const dash = rest!.lastIndexOf('-');
  return {
    epoch: epoch ?? '0',
    upstream: dash < 0 ? rest! : rest!.slice(0, dash),
    revision: dash < 0 ? '' : rest!.slice(dash + 1),
  };
}

function compareDebianPart(a: string, b: string): number {
  const left: string[] = a.match(/\d+|\D+/g) ?? [];
  const right: string[] = b.match(/\d+|\D+/g) ?? [];
  // Words and numbers alternate, a word first.
  if (/^\d/.test(left[0] ?? '')) left.unshift('');
  if (/^\d/.test(right[0] ?? '')) right.unshift('');
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const order =
      i % 2 === 0 ? compareDebianWords(left[i] ?? '', right[i] ?? '') : compareNumbers(left[i] ?? '0', right[i] ?? '0');
    if (order !== 0) return order;
  }
  return 0;
}

function compareDebianWords(a: string, b: string): number {
  // `~` before the end, the end before letters, letters before the rest.
  const rank = (character: string | undefined): number =>
    character === '~'
      ? -1
      : character === undefined
        ? 0
        : /[a-zA-Z]/.test(character)
          ? character.charCodeAt(0)
          : character.charCodeAt(0) + 256;
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const order = rank(a[i]) - rank(b[i]);
    if (order !== 0) return order;
  }
  return 0;
}

/** Maven's order as far as releases and `-SNAPSHOT`, `-alpha`, `-rc` go: a qualifier comes before the release, `-sp` behind. */
export const compareMaven = bounded((a, b) => {
  const left = splitSemver(a.replace(/[-.](?:final|ga|release)$/i, ''));
  const right = splitSemver(b.replace(/[-.](?:final|ga|release)$/i, ''));
  return (
    compareLists(left.numbers, right.numbers, compareNumbers, '0') ||
    qualifierRank(left.prerelease) - qualifierRank(right.prerelease) ||
    compareDebianPart(left.prerelease.toLowerCase(), right.prerelease.toLowerCase())
  );
});

const QUALIFIERS: readonly string[] = ['alpha', 'beta', 'milestone', 'rc', 'snapshot', '', 'sp'];

function qualifierRank(qualifier: string): number {
  const word = /^[a-z]*/.exec(qualifier.toLowerCase())![0].replace(/^cr$/, 'rc').replace(/^m$/, 'milestone');
  const rank = QUALIFIERS.indexOf(word);
  // Other words, such as `jre8`, come behind the release.
  return rank < 0 ? QUALIFIERS.length : rank;
}

const COMPARE: Readonly<Record<ClientKind, Compare>> = {
  pip: comparePep440,
  npm: compareSemver,
  jar: compareMaven,
  composer: compareSemver,
  gem: comparePep440,
  go: compareSemver,
  package: compareDebian,
  'cloud-init': compareDebian,
  program: compareDebian,
  script: compareSemver,
};

/** Whether a version is at least the minimum, by the rules of where it is installed from; undefined where it is no version. */
export function atLeast(kind: ClientKind, version: string, minimum: string): boolean | undefined {
  if (!/^[vV=]*(?:\d+[!:])?\d/.test(version.trim())) return undefined;
  // Minimums are the authors' versions: a distribution's epoch says nothing about these.
  const bare = kind === 'package' && !minimum.includes(':') ? version.trim().replace(/^\d+:/, '') : version;
  return COMPARE[kind](bare, minimum) >= 0;
}
