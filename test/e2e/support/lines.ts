import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';

/** What was read of one file so far. */
interface Progress<T> {
  offset: number;
  decoder: StringDecoder;
  /** A last line that is still being written. */
  rest: string;
  objects: T[];
}

/**
 * Reads files of JSON lines that grow, each byte once, so that waiting for many events costs no more than reading them.
 * A file is known again under another name (after a rotation). A missing file is empty.
 */
export class JsonLines<T> {
  readonly #files = new Map<string, Progress<T>>();

  /** @param torn lines that are no JSON are left out: somebody was killed while he wrote one */
  constructor(private readonly torn = false) {}

  /** All objects of the file up to now. The array is the reader's own and grows with the next call. */
  read(file: string): readonly T[] {
    let fd: number;
    try {
      fd = openSync(file, 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
    try {
      const { ino, birthtimeMs, size } = fstatSync(fd);
      // The number alone may be that of one that was deleted.
      const key = `${ino} ${birthtimeMs}`;
      let known = this.#files.get(key);
      // Where the file system knows no time of birth, a shorter file is another one.
      if (known === undefined || size < known.offset) {
        known = { offset: 0, decoder: new StringDecoder('utf8'), rest: '', objects: [] };
        this.#files.set(key, known);
      }
      if (size === known.offset) return known.objects;
      const more = Buffer.alloc(size - known.offset);
      const length = readSync(fd, more, 0, more.length, known.offset);
      known.offset += length;
      const lines = (known.rest + known.decoder.write(more.subarray(0, length))).split('\n');
      known.rest = lines.pop()!;
      for (const line of lines) {
        try {
          known.objects.push(JSON.parse(line) as T);
        } catch (error) {
          if (!this.torn) throw error;
        }
      }
      return known.objects;
    } finally {
      closeSync(fd);
    }
  }
}
