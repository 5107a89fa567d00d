import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import leven from 'leven';
import { bracketed } from '../addresses.js';
import { usageError } from '../errors.js';
import { escapeText, escapeWord } from '../output/escape.js';
import { type EventFormat, FORMATTERS } from '../output/formats.js';
import { parseSize } from '../sizes.js';
import type { OtlpTarget, ShipTarget, SyslogTarget, TlsFiles } from './target.js';

/** RFC 5424, section 6.2.1, in the names of syslog.conf(5). */
const FACILITIES: readonly string[] =
  'kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp security console clock local0 local1 local2 local3 local4 local5 local6 local7'.split(
    ' ',
  );

const FORMATS = Object.keys(FORMATTERS) as EventFormat[];

/**
 * Bytes of a syslog message unless `max-size` says otherwise. UDP: what fits into few fragments and what receivers commonly
 * take (RFC 5426 asks for 2048 at least); stream transports have no bound of their own.
 */
const MAX_SIZE = { udp: 8 * 1024, tcp: 256 * 1024, tls: 256 * 1024 } as const;
/** RFC 5424, section 6.1: every receiver takes 480. The greatest UDP payload over IPv4 is 65,507. */
const SIZE_LIMITS = { udp: [480, 65_507], tcp: [480, 1024 * 1024], tls: [480, 1024 * 1024] } as const;

const TLS_PARAMETERS = ['ca', 'cert', 'key', 'servername'] as const;
const SYSLOG_PARAMETERS = ['format', 'facility', 'app-name', 'max-size'];
const OTLP_PARAMETERS = ['headers-file', 'compression'];

type Scheme = Pick<SyslogTarget, 'kind' | 'transport'> | (Pick<OtlpTarget, 'kind' | 'secure'> & { transport?: never });

interface SchemeRow {
  scheme: Scheme;
  /** Where the URL names none: RFC 6587 has no port of its own, so TCP takes that of RFC 5426; RFC 5425; OTLP. */
  port: number;
  parameters: readonly string[];
}

const SCHEMES: Readonly<Record<string, SchemeRow>> = {
  'syslog+tcp': { scheme: { kind: 'syslog', transport: 'tcp' }, port: 514, parameters: SYSLOG_PARAMETERS },
  'syslog+tls': {
    scheme: { kind: 'syslog', transport: 'tls' },
    port: 6514,
    parameters: [...SYSLOG_PARAMETERS, ...TLS_PARAMETERS],
  },
  'syslog+udp': { scheme: { kind: 'syslog', transport: 'udp' }, port: 514, parameters: SYSLOG_PARAMETERS },
  'otlp+http': { scheme: { kind: 'otlp', secure: false }, port: 4318, parameters: OTLP_PARAMETERS },
  'otlp+https': {
    scheme: { kind: 'otlp', secure: true },
    port: 4318,
    parameters: [...OTLP_PARAMETERS, ...TLS_PARAMETERS],
  },
};

/** The schemes of `--ship`. */
export const SHIP_SCHEMES = Object.keys(SCHEMES);

/** What may stand behind the `?` of each scheme. */
export const shipParameters = (scheme: string): readonly string[] => SCHEMES[scheme]?.parameters ?? [];

/**
 * The receiver that a URL of `--ship` names. Throws a usage error that says what is wrong with it; the error repeats
 * nothing of a URL that holds credentials.
 */
export function parseShipUrl(text: string, option = '--ship'): ShipTarget {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof Fault) throw usageError(error.code, `${option}: ${error.message}`, error.remedy);
    throw error;
  }
}

/** What is wrong with a URL, wherever it stands. */
class Fault extends Error {
  constructor(
    readonly code: `IMDS_${string}`,
    message: string,
    readonly remedy: string,
  ) {
    super(message);
  }
}

function parse(text: string): ShipTarget {
  // Before anything that quotes the URL.
  if (/^[^/?#]*:\/\/[^/?#]*@/.test(text)) {
    throw new Fault(
      'IMDS_SHIP_CREDENTIALS',
      'the URL holds a user or password, which everybody can read in the list of processes',
      'put credentials into a file: headers-file=FILE (OTLP), or cert=FILE and key=FILE (TLS)',
    );
  }
  const shown = shownUrl(text);
  const schemeName = /^([a-z0-9+.-]+):\/\//i.exec(text)?.[1]?.toLowerCase() ?? '';
  const row = Object.hasOwn(SCHEMES, schemeName) ? SCHEMES[schemeName] : undefined;
  if (row === undefined) {
    throw new Fault(
      'IMDS_SHIP_URL',
      `"${shown}" is no receiver's address`,
      `begin with one of: ${SHIP_SCHEMES.map((name) => `${name}://`).join(', ')}`,
    );
  }
  const url = parseUrl(text, shown);
  const host = hostOf(url, shown);
  const port = url.port === '' ? row.port : Number(url.port);
  if (port === 0) throw new Fault('IMDS_SHIP_URL', `"${shown}" has port 0`, 'give the port of the receiver');
  if (url.hash !== '') throw new Fault('IMDS_SHIP_URL', `"${shown}" has a fragment (#)`, 'leave it out');
  const given = parameters(url, schemeName, row.parameters, shown);
  const name = `${schemeName}://${bracketed(host)}:${port}`;
  const tls = row.parameters.includes('ca') ? { tls: tlsFiles(given, shown) } : {};
  return row.scheme.kind === 'syslog'
    ? syslogTarget(row.scheme, { name, host, port, ...tls }, given, url, shown)
    : otlpTarget(row.scheme, { name, host, port, ...tls }, given, url, shown);
}

/** As far as errors repeat it: what is no URL may hold a password all the same, and a query a key. */
const shownUrl = (text: string): string =>
  escapeText(text.replace(/[?#].*$/s, '?…').replace(/^([a-z0-9+.-]{1,16}:)?.*@/is, '$1…@'), 256);

/** `name` is scheme, host and port. */
type Common = Pick<ShipTarget, 'name' | 'host' | 'port' | 'tls'>;
type Given = ReadonlyMap<string, string>;

function syslogTarget(
  { transport }: Pick<SyslogTarget, 'transport'>,
  common: Common,
  given: Given,
  url: URL,
  shown: string,
): SyslogTarget {
  if (url.pathname !== '' && url.pathname !== '/') {
    throw new Fault('IMDS_SHIP_URL', `"${shown}" has a path, which syslog doesn't know`, 'leave it out');
  }
  const format = choice(given, 'format', FORMATS, 'text');
  const facility = FACILITIES.indexOf(choice(given, 'facility', FACILITIES, 'local0'));
  const appName = given.get('app-name') ?? 'imds-tracer';
  // RFC 5424, section 6: APP-NAME is 1*48PRINTUSASCII.
  if (!/^[\x21-\x7e]{1,48}$/.test(appName)) {
    throw new Fault(
      'IMDS_SHIP_URL',
      `app-name "${escapeText(appName, 64)}" can't stand in a syslog message`,
      'give 1 to 48 printable ASCII characters without spaces',
    );
  }
  const maxSize = given.has('max-size') ? parseSize(given.get('max-size')!, 'max-size') : MAX_SIZE[transport];
  const [least, most] = SIZE_LIMITS[transport];
  if (maxSize < least || maxSize > most) {
    throw new Fault(
      'IMDS_SHIP_URL',
      `max-size ${maxSize} is out of range`,
      `give a number of bytes from ${least} to ${most}`,
    );
  }
  return {
    kind: 'syslog',
    transport,
    ...common,
    name: format === 'text' ? common.name : `${common.name}?format=${format}`,
    id: idOf(common.name, format),
    format,
    facility,
    appName,
    maxSize,
  };
}

function otlpTarget(
  { secure }: Pick<OtlpTarget, 'secure'>,
  common: Common,
  given: Given,
  url: URL,
  shown: string,
): OtlpTarget {
  const headersFile = given.get('headers-file');
  if (headersFile !== undefined) checkPath(headersFile, 'headers-file', shown);
  const base = url.pathname.replace(/\/+$/, '');
  // The specification of the OTLP exporter, "Endpoint URLs for OTLP/HTTP": a base address has the signal's path added.
  const path = base.endsWith('/v1/logs') ? base : `${base}/v1/logs`;
  return {
    kind: 'otlp',
    secure,
    ...common,
    name: `${common.name}${escapeWord(path, 128)}`,
    id: idOf(common.name, path),
    path,
    ...(headersFile === undefined ? {} : { headersFile }),
    gzip: choice(given, 'compression', ['gzip', 'none'], 'gzip') === 'gzip',
  };
}

function parseUrl(text: string, shown: string): URL {
  try {
    return new URL(text);
  } catch {
    throw new Fault('IMDS_SHIP_URL', `"${shown}" is no URL`, 'write for example syslog+tls://logs.example.com');
  }
}

/** A name or an address, in lower case; an IPv6 address without brackets. */
function hostOf(url: URL, shown: string): string {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  const isName = /^(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?$/.test(host) && host.length <= 253;
  if (isIP(host) === 0 && !isName) {
    throw new Fault('IMDS_SHIP_URL', `"${shown}" names no host`, 'give a host name or an address');
  }
  return host;
}

function parameters(url: URL, scheme: string, known: readonly string[], shown: string): Given {
  const given = new Map<string, string>();
  for (const [name, value] of url.searchParams) {
    if (!known.includes(name)) {
      const near = known.find((candidate) => leven(name.slice(0, 64), candidate) < 3);
      throw new Fault(
        'IMDS_SHIP_URL',
        `${scheme} has no parameter "${escapeText(name, 64)}"${near === undefined ? '' : ` (did you mean "${near}"?)`}`,
        `known parameters: ${known.join(', ')}`,
      );
    }
    if (given.has(name)) throw new Fault('IMDS_SHIP_URL', `"${shown}" has ${name} twice`, 'leave one out');
    if (value === '') throw new Fault('IMDS_SHIP_URL', `"${shown}" has an empty ${name}`, 'give it a value');
    given.set(name, value);
  }
  return given;
}

function choice<Word extends string>(given: Given, name: string, words: readonly Word[], otherwise: Word): Word {
  const value = given.get(name) ?? otherwise;
  if ((words as readonly string[]).includes(value)) return value as Word;
  throw new Fault(
    'IMDS_SHIP_URL',
    `${name} "${escapeText(value, 64)}" is not known`,
    `take one of: ${words.join(', ')}`,
  );
}

function tlsFiles(given: Given, shown: string): TlsFiles {
  const files: TlsFiles = {};
  for (const name of TLS_PARAMETERS) {
    const value = given.get(name);
    if (value === undefined) continue;
    if (name !== 'servername') checkPath(value, name, shown);
    files[name] = value;
  }
  if ((files.cert === undefined) !== (files.key === undefined)) {
    throw new Fault('IMDS_SHIP_URL', `"${shown}" has only one of cert and key`, 'give both files');
  }
  return files;
}

function checkPath(path: string, name: string, shown: string): void {
  if (path.startsWith('/') && !path.includes('\0')) return;
  throw new Fault('IMDS_SHIP_URL', `"${shown}": ${name} is no absolute path`, `give ${name}=/path/to/file`);
}

/** A folder name that says which receiver it is, and tells apart what the readable part can't. */
function idOf(name: string, rest: string): string {
  const readable = name.replace(/[^a-z0-9.]+/g, '-').slice(0, 80);
  return `${readable}-${createHash('sha256').update(`${name} ${rest}`).digest('hex').slice(0, 12)}`;
}
