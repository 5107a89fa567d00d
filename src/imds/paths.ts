import { memo } from '../memo.js';

/** Reading request targets. Everything here is linear in the target's length, whatever the target. */

export interface UrlParts {
  /** As sent, without query; of an absolute-form target (RFC 9112 3.2.2) its path, at least `/`. */
  path: string;
  /** What follows the first `?`, as sent; absent where nothing does. */
  query?: string;
}

export interface JudgedPath {
  /**
   * In lower case, slashes collapsed, dot segments resolved, what is percent-encoded without need decoded, versions
   * as `latest`; begins with a slash and, but for `/` itself, does not end with one. To be judged, never shown.
   */
  path: string;
  /**
   * Every server reads this path alike. Not so where it begins with no slash, climbs (`..`), hides a slash, or has characters
   * that servers cut at or decode again: such a path may be something else than it seems.
   */
  plain: boolean;
}

/** The path and the query of a request target, for showing. */
export function urlParts(target: string): UrlParts {
  const rest = afterAuthority(target);
  const mark = rest.indexOf('?');
  const path = mark < 0 ? rest : rest.slice(0, mark);
  const query = mark < 0 ? '' : rest.slice(mark + 1);
  return { path: path === '' && rest !== target ? '/' : path, ...(query === '' ? {} : { query }) };
}

/** The authority of an absolute-form target, without user information; nothing for the other forms. */
export function targetAuthority(target: string): string | undefined {
  const start = authorityStart(target);
  if (start < 0) return undefined;
  const authority = target.slice(start, authorityEnd(target, start));
  return authority.slice(authority.lastIndexOf('@') + 1);
}

export const judgedPath = (target: string): JudgedPath => judge(urlParts(target).path);

const judge = memo((path: string): JudgedPath => {
  let text = path.toLowerCase();
  // A target of another form: what Go's net/url takes `http:/latest/…` for is `/latest/…`, and others refuse.
  let plain = path.startsWith('/');

  const fragment = text.indexOf('#');
  if (fragment >= 0) text = text.slice(0, fragment);
  if (text.includes('%')) {
    // A slash encoded is not the same as a slash, but many servers read it as one.
    if (text.includes('%2f')) plain = false;
    text = text.replace(/%[2-7][0-9a-f]/g, (encoded) => DECODED.get(encoded) ?? encoded);
  }
  if (fragment >= 0 || !PLAIN.test(text)) plain = false;

  const segments: string[] = [];
  for (const segment of text.split('/')) {
    if (segment === '..') {
      segments.pop();
      plain = false;
    } else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  for (let i = 0; i < VERSIONED_DEPTH && i < segments.length; i++) {
    if (VERSION.test(segments[i]!)) segments[i] = 'latest';
  }
  return { path: `/${segments.join('/')}`, plain };
});

/** `path` (judged) is `family` or lies below it. */
export const isUnder = (path: string, family: string): boolean =>
  path.startsWith(family) && (path.length === family.length || path[family.length] === '/');

/** Characters that mean the same encoded or not (RFC 3986 2.3, 6.2.2.2), and the slash; by their encoding in lower case. */
const DECODED: ReadonlyMap<string, string> = new Map(
  [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/'].map((character) => [
    `%${character.charCodeAt(0).toString(16)}`,
    character.toLowerCase(),
  ]),
);
/** RFC 3986's pchar without escapes and without `;`, where some servers cut a segment. */
const PLAIN = /^[a-z0-9\-._~/@:!$&'()*+,=]*$/;
/** `/2016-01-01/…` and, below a provider's own first segment, `/openstack/2012-08-10/…`. AWS still answers `1.0`. */
const VERSION = /^(?:\d{4}-\d{2}-\d{2}|1\.0)$/;
const VERSIONED_DEPTH = 2;

const SCHEME = /^[a-z][a-z0-9+.-]*$/i;

function authorityStart(target: string): number {
  if (target.startsWith('/')) return -1;
  const colon = target.indexOf('://');
  return colon > 0 && SCHEME.test(target.slice(0, colon)) ? colon + 3 : -1;
}

function authorityEnd(target: string, start: number): number {
  const length = target.slice(start).search(/[/?#]/);
  return length < 0 ? target.length : start + length;
}

function afterAuthority(target: string): string {
  const start = authorityStart(target);
  return start < 0 ? target : target.slice(authorityEnd(target, start));
}
