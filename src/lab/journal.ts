import { writeSync } from 'node:fs';
import type { ProviderName } from '../imds/types.js';
import type { ReadRequest, Unreadable } from './request-reader.js';

export interface JournalAddress {
  address: string;
  port: number;
}

interface Received {
  /** Epoch milliseconds. */
  time: number;
  /** Numbers the connections of a service, from 0 in the order of their acceptance. */
  connection: number;
  /** Numbers what one connection sent, from 0. */
  seq: number;
  /** Absent when the client had reset the connection before it was accepted. */
  client?: JournalAddress;
  server: JournalAddress;
}

/** A request as the service received it, byte for byte. Holds tokens: a journal is for tests only. */
export interface JournaledRequest extends Received, ReadRequest {
  provider: ProviderName;
  status: number;
}

/** Bytes that are no HTTP request, or the beginning of one that never came to its end. */
export interface JournaledBytes extends Received, Unreadable {}

export type JournalEntry = JournaledRequest | JournaledBytes;

/**
 * Writes an entry as a line to a file descriptor before it returns: what a client was answered is in the journal.
 * A journal that can't be written ends the service, for a test that trusted it would be worthless.
 */
export function writeEntry(fd: number, entry: JournalEntry): void {
  const line = Buffer.from(`${JSON.stringify(entry)}\n`);
  for (let written = 0; written < line.length; ) written += writeSync(fd, line, written);
}
