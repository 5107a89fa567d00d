/**
 * What the wire layer makes of the packets of one connection. Pure: no I/O, no clocks; times come with the packets
 * (epoch milliseconds with a fraction).
 *
 * Bytes of a head are decoded as latin1, so that a code unit is a byte of the wire; see text.ts for showing them.
 */

export interface HttpHeader {
  /** As sent. */
  name: string;
  /** As sent, without the white space around it. */
  value: string;
}

export interface RequestHead {
  time: number;
  method: string;
  /** The request target exactly as sent. */
  target: string;
  /** `1.0` or `1.1`. */
  version: string;
  headers: readonly HttpHeader[];
  /** Length of the head on the wire in bytes, blank line included. */
  headBytes: number;
  /** `headers` is the very object that other requests of the same header lines have: what is made of it can be kept by it. */
  recurring?: boolean;
}

export interface ResponseHead {
  time: number;
  status: number;
  version: string;
  headers: readonly HttpHeader[];
  /**
   * The AccessKeyId that a credential document names, where it stands in the bytes that came with the head: the only
   * part of a body that ever leaves the wire layer.
   */
  accessKeyId?: string;
}

/** Why bytes towards an endpoint could not be read as a request. */
export type UnparsedReason =
  | 'non_http' // the bytes are no HTTP/1.x request head
  | 'gap' // bytes of a head are missing (lost, cut, or from before the tracer's start)
  | 'head_too_large' // no blank line within the bound
  | 'evicted' // the flow was dropped from the table before its head was whole
  | 'changed_on_resend' // bytes of a head were sent again, and are not those that were sent first
  | 'unexplained_response'; // every request seen had its response, and then came another one

export interface UnparsedBytes {
  time: number;
  reason: UnparsedReason;
  /** How many bytes this stands for, as far as known. */
  bytes: number;
}

/**
 * What a connection tells its owner, in order. `id` numbers the requests (and unparsed stretches) of one connection
 * from 0. A response belongs to the request with the same id; informational (1xx) responses are not reported.
 */
export interface ConnectionSink {
  request(id: number, head: RequestHead): void;
  unparsed(id: number, what: UnparsedBytes): void;
  response(id: number, head: ResponseHead): void;
  /** The connection is over: no response will come for requests that have none. */
  ended(time: number): void;
}
