import type { HeadRecord } from '../capture/types.js';
import { firstLine, parseHeaders, parseRequestLine } from './http-head.js';
import type { RequestHead } from './types.js';

/** A request but for its query. */
export interface SharedHead extends Pick<RequestHead, 'method' | 'version' | 'headers'> {
  /** The target as far as the query. */
  readonly path: string;
  /** On the wire, the query not included. */
  readonly headBytes: number;
}

/**
 * Reads the head that exchanges have in common. Undefined where it is no request, or has more to it than a head: the native
 * module hands on none such as an exchange's.
 */
export function sharedHead({ data }: Pick<HeadRecord, 'data'>): SharedHead | undefined {
  const text = data.toString('latin1');
  const line = parseRequestLine(firstLine(text));
  const block = line === undefined ? undefined : parseHeaders(text, line.version);
  if (line === undefined || block === undefined || block.upgrade) return undefined;
  if (block.framing !== 'none' && block.framing !== 0) return undefined;
  const { method, target: path, version } = line;
  return { method, path, version, headers: block.headers, headBytes: data.length };
}
