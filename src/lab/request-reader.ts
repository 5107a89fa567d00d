/**
 * Reads the requests that one connection sends, for the emulated service. Node's own server is not used because its
 * parser refuses bytes above 0x7f in a target (HPE_INVALID_URL, even with `insecureHTTPParser`), while real services
 * and the tracer must live with them. Kept apart from the tracer's own parser, whose results are compared with it.
 *
 * Work and memory are linear in what is sent, and at most `MAX_HEAD` bytes are held.
 */

export interface ReadRequest {
  kind: 'request';
  method: string;
  /** All text is latin1: a code unit is a byte of the wire. */
  target: string;
  version: '1.0' | '1.1';
  headers: [name: string, value: string][];
}

export type UnreadableCode =
  | 'no_http' // not a request line, or not a header line
  | 'head_too_large'
  | 'bad_body' // its length can't be told
  | 'incomplete'; // the connection ended inside a head

export interface Unreadable {
  kind: 'unparsed';
  code: UnreadableCode;
}

/** Bytes of a request line with its headers (or of a chunk's size line, or of trailers). */
const MAX_HEAD = 64 * 1024;

const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^ ]+) HTTP\/(1\.[01])$/;
const LF = 0x0a;

export class RequestReader {
  readonly #receive: (what: ReadRequest | Unreadable) => void;
  #expect: (line: string) => void = (line) => this.#requestLine(line);
  /** Pieces of the line that has not come to its end yet. */
  #line: Buffer[] = [];
  #headBytes = 0;
  /** Bytes of a body that are still to be passed over. */
  #body = 0;
  /** Inside a chunked body, trailers included. */
  #chunked = false;
  #closed = false;

  constructor(receive: (what: ReadRequest | Unreadable) => void) {
    this.#receive = receive;
  }

  /** What comes after this is passed over: an unreadable stretch, or a request that asked for the end, was the last. */
  close(): void {
    this.#closed = true;
    this.#line = [];
  }

  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && !this.#closed; ) {
      if (this.#body > 0) {
        const passed = Math.min(this.#body, chunk.length - at);
        this.#body -= passed;
        at += passed;
        continue;
      }
      // A TLS hello has no line end to wait for: no request begins with a control byte or one above 0x7f.
      if (this.#headBytes === 0 && !this.#chunked && !mayBegin(chunk[at]!)) {
        this.#fail('no_http');
        return;
      }
      const lineEnd = chunk.indexOf(LF, at);
      const piece = chunk.subarray(at, lineEnd < 0 ? chunk.length : lineEnd + 1);
      at += piece.length;
      this.#headBytes += piece.length;
      if (this.#headBytes > MAX_HEAD) {
        this.#fail('head_too_large');
        return;
      }
      this.#line.push(piece);
      if (lineEnd >= 0) {
        const line = Buffer.concat(this.#line).toString('latin1');
        this.#line = [];
        this.#expect(line.slice(0, line.endsWith('\r\n') ? -2 : -1));
      }
    }
  }

  /** The client has sent everything. */
  end(): void {
    if (!this.#closed && !this.#chunked && this.#headBytes > 0) this.#fail('incomplete');
  }

  #requestLine(line: string): void {
    if (line === '') {
      this.#headBytes = 0; // RFC 9112 section 2.2: empty lines before it are ignored
      return;
    }
    const [, method, target, version] = REQUEST_LINE.exec(line) ?? [];
    if (method === undefined || target === undefined || version === undefined) {
      this.#fail('no_http');
      return;
    }
    const request: ReadRequest = { kind: 'request', method, target, version: version as '1.0' | '1.1', headers: [] };
    this.#expect = (header) => this.#headerLine(header, request);
  }

  #headerLine(line: string, request: ReadRequest): void {
    if (line === '') {
      this.#headEnded(request);
      return;
    }
    const last = request.headers.at(-1);
    if (last && /^[ \t]/.test(line)) {
      last[1] += ` ${trim(line)}`; // RFC 9112 section 5.2: a folded line
      return;
    }
    const colon = line.indexOf(':');
    if (colon < 1) this.#fail('no_http');
    else request.headers.push([trim(line.slice(0, colon)), trim(line.slice(colon + 1))]);
  }

  #headEnded(request: ReadRequest): void {
    this.#next();
    this.#receive(request);
    if (this.#closed) return;
    const length = headerOf(request, 'content-length') ?? '0';
    if (/(^|,)[ \t]*chunked$/i.test(headerOf(request, 'transfer-encoding') ?? '')) {
      this.#chunked = true;
      this.#expect = (line) => this.#chunkSize(line);
    } else if (/^\d{1,15}$/.test(length)) {
      this.#body = Number(length);
    } else {
      this.#fail('bad_body');
    }
  }

  #chunkSize(line: string): void {
    const size = /^([0-9a-f]{1,12})[ \t]*(;|$)/i.exec(line)?.[1];
    this.#headBytes = 0;
    if (size === undefined) {
      this.#fail('bad_body');
    } else if (/^0+$/.test(size)) {
      this.#expect = (trailer) => {
        if (trailer === '') this.#next();
      };
    } else {
      this.#body = Number.parseInt(size, 16);
      this.#expect = (end) => {
        this.#expect = (next) => this.#chunkSize(next);
        if (end !== '') this.#fail('bad_body');
      };
    }
  }

  #next(): void {
    this.#chunked = false;
    this.#headBytes = 0;
    this.#expect = (line) => this.#requestLine(line);
  }

  #fail(code: UnreadableCode): void {
    this.close();
    this.#receive({ kind: 'unparsed', code });
  }
}

/** The value of the first header of that name, given in lower case. */
export function headerOf({ headers }: ReadRequest, name: string): string | undefined {
  return headers.find(([sent]) => sent.toLowerCase() === name)?.[1];
}

const mayBegin = (byte: number): boolean => (byte > 0x20 && byte < 0x7f) || byte === 0x0d || byte === LF;

/** Without optional white space of RFC 9110, and without what else `String.trim` takes for white space (0xa0). */
function trim(text: string): string {
  const isSpace = (at: number) => text[at] === ' ' || text[at] === '\t';
  let start = 0;
  let end = text.length;
  while (start < end && isSpace(start)) start += 1;
  while (end > start && isSpace(end - 1)) end -= 1;
  return text.slice(start, end);
}
