/** The bounds of a packet dump: who can connect to an endpoint can fill each of these. */

const KIB = 1024;
const MIB = 1024 * KIB;

/** Packets of one connection that wait, bookkeeping included: for a finding, or for the rest of a head. */
export const MAX_CONNECTION_BYTES = 256 * KIB;
/** All that is kept for all connections; the least recently used goes first. */
export const MAX_KEPT_BYTES = 32 * MIB;
/** What a packet that waits is charged for beside its bytes. */
export const PACKET_OVERHEAD = KIB / 2;
/** What a connection that keeps anything is charged for beside its packets. */
export const CONNECTION_OVERHEAD = 2 * KIB;
/** Comments of one connection that wait for their packets, in characters; beyond that a request has none. */
export const MAX_COMMENT_LENGTH = 64 * KIB;

/** A dump reaches this size in bytes, then a new file is begun; so many old ones are kept. */
export const MAX_FILE_BYTES = 50 * MIB;
export const MAX_FILES = 10;
