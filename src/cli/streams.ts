import { fstatSync, writeSync } from 'node:fs';
import process from 'node:process';
import type { Writable } from 'node:stream';
import { isatty } from 'node:tty';
import { usageError } from '../errors.js';
import { escapeText } from '../output/escape.js';

/** Descriptors that were a terminal when the process started. */
const TERMINALS: readonly number[] = [0, 1, 2].filter((fd) => isatty(fd));

/** Somebody has been told that standard output can't be written, or is about to be. */
let told = false;

/**
 * To be called before anything is written. An error of standard output or standard error that nobody hears ends the process: a
 * tracer would be gone because of a full disk that its words go to, or of a log collector that was restarted.
 */
export function guardStreams(): void {
  // There is nobody left to tell. Each write is an attempt of its own: what comes later may be heard again.
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', (error) => {
    if (told || isReaderGone(error)) return;
    told = true;
    process.stderr.write(`imds-tracer: ${escapeText(unwritable(error))}\n`);
  });
  if (isFile(1)) writeToTheEnd(process.stdout, 1);
}

/**
 * Into a file, Node's stream takes what a single write(2) took for all there was: on a disk that gets full, the rest would be missing
 * without an error.
 */
function writeToTheEnd(stream: Writable, fd: number): void {
  stream._write = (chunk: Buffer | string, encoding, done) => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    } catch (error) {
      done(error as Error);
      return;
    }
    done();
  };
}

function isFile(fd: number): boolean {
  try {
    return fstatSync(fd).isFile();
  } catch {
    return false;
  }
}

/**
 * Writes to standard output what a command is run for, and resolves when it is there. Rejects with a usage error where it can't
 * be: half a document must not pass for a whole one. A reader that goes away (`| head`) has seen what it wanted.
 */
export function writeResult(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => {
      if (error === null || error === undefined || isReaderGone(error)) return resolve();
      // Before the stream's own event of it.
      told = true;
      reject(usageError('IMDS_OUTPUT', unwritable(error), 'make room there, or send the output somewhere else'));
    });
  });
}

/**
 * What SIGHUP says: true, that the terminal has gone; false, that somebody sends it to a program that has none, to have logs opened
 * anew. The view may go through a pipe (`| grep`): then a terminal that was there at the start answers no more.
 */
export const isTerminalGone = (): boolean => process.stdout.isTTY === true || TERMINALS.some((fd) => !isatty(fd));

/** Of a terminal, EIO says the same as EPIPE of a pipe. */
const isReaderGone = ({ code }: NodeJS.ErrnoException): boolean =>
  code === 'EPIPE' || (code === 'EIO' && TERMINALS.includes(1));

const unwritable = ({ message }: Error): string => `standard output can't be written: ${message}`;
