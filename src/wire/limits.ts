/** The bounds of the wire layer. Anyone who can connect to an endpoint is an adversary: each of these is reachable. */

const KIB = 1024;
const MIB = 1024 * KIB;

/** A request or response head, blank line included, in bytes; also a chunked body's extensions and trailers. */
export const MAX_HEAD_BYTES = 64 * KIB;
/** Headers of one head (Node's own `maxHeadersCount`): an object each, so bytes alone would not bound the memory. */
export const MAX_HEADERS = 2_000;
/** Requests of one connection that wait for their response; a longer pipeline loses its pairing, never its requests. */
export const MAX_OUTSTANDING = 256;

/** Bytes of one direction kept behind a hole, bookkeeping included. */
export const MAX_STREAM_BYTES = 256 * KIB;
/** Segments of one direction kept behind a hole. */
export const MAX_STREAM_SEGMENTS = 128;
/** What a kept segment is charged for beside its bytes: its objects and its buffer's own memory (measured: 0.9 KB). */
export const SEGMENT_OVERHEAD = KIB;
/** How far from the expected sequence number a segment can be. Linux's largest receive buffer is 6 MiB (tcp_rmem). */
export const SEQUENCE_WINDOW = 16 * MIB;
/** A hole that nothing filled for so long was lost by the capture; an event is due 1 s after its request. */
export const HOLE_TIMEOUT_MS = 1_000;

export const MAX_FLOWS = 16_384;
/** Of them such as are over: half a kilobyte each, and late retransmissions come soon if at all. */
export const MAX_LINGERING_FLOWS = 4_096;
/** Bytes that all connections keep: halves of heads, and segments behind holes. */
export const MAX_BUFFERED_BYTES = 32 * MIB;
export const FLOW_IDLE_MS = 60_000;
/** A closed connection stays known for so long, or its late retransmissions would pass for a new one. */
export const FLOW_LINGER_MS = 10_000;

/** How far behind a response head an AccessKeyId is looked for, in bytes. */
export const ACCESS_KEY_SCAN_BYTES = 4 * KIB;
