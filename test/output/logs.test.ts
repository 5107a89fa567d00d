import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TracerError } from '../../src/errors.js';
import { createEventContext } from '../../src/output/context.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { LogFiles } from '../../src/output/logs.js';
import { shiftFiles } from '../../src/output/numbered-files.js';
import { PrivateDirectory } from '../../src/output/private-directory.js';
import { redactEvent } from '../../src/output/redact.js';
import { RotatingFile } from '../../src/output/rotating-file.js';
import { formatText } from '../../src/output/text.js';
import { eventOf } from './events.js';

let said: string[];
const context = createEventContext({ hostName: 'h', version: '1' });
const learned = new LearnedSecrets();
const isRoot = process.geteuid!() === 0;
/** Root of a container may not mount. */
const canMount = isRoot && spawnSync('unshare', ['-m', 'true']).status === 0;
/** A file system of one's own that can be broken. */
const canLoop =
  canMount &&
  existsSync('/sys/fs/ext4') &&
  ['mkfs.ext4', 'losetup', 'findmnt', 'python3'].every((tool) => spawnSync(tool, ['--version']).error === undefined) &&
  spawnSync('losetup', ['-f']).status === 0;
const NO_LOOP = ' (skipped: needs root, loop devices, ext4 and python3)';
let parent: string;
let directory: string;

beforeEach(() => {
  said = [];
  parent = mkdtempSync(join(tmpdir(), 'imds-logs-'));
  directory = join(parent, 'imds');
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

const mode = (path: string): number => lstatSync(path).mode & 0o7777;
const files = (prefix: string): string[] =>
  readdirSync(directory)
    .filter((name) => name.startsWith(prefix))
    .sort();
const lines = (prefix: string): string[] =>
  files(prefix).flatMap((name) => {
    const text = readFileSync(join(directory, name), 'utf8');
    expect(text === '' || text.endsWith('\n')).toBe(true);
    return text.split('\n').slice(0, -1);
  });

function writeEvents(logs: LogFiles, from: number, to: number): void {
  for (let i = from; i < to; i++) {
    const event = redactEvent(eventOf(['client', `number-${i}.`, 'line\nbreak \u009b2J']), learned);
    logs.write(event, formatText(event));
  }
}

/** The numbers of the events in both files, in any order of files. */
const numbers = (prefix: string): number[] =>
  lines(prefix)
    .map((line) => Number(/number-(\d+)\./.exec(line)?.[1]))
    .sort((a, b) => a - b);
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

describe('log files', () => {
  it('get a text line and an ECS object for each event', async () => {
    const logs = new LogFiles(directory, context);
    writeEvents(logs, 0, 3);
    await logs.close();
    expect(readdirSync(directory).sort()).toEqual(['imds-events.ndjson', 'imds-trace.log']);
    const events = lines('imds-events').map((line) => JSON.parse(line));
    expect(events.map((event) => event.log.level)).toEqual(['WARNING', 'WARNING', 'WARNING']);
    expect(events[1].process.args).toEqual(['client', 'number-1.', 'line\nbreak \u009b2J']);
    expect(lines('imds-trace').map((line) => line.replace(/^\[[^\]]*\] \[WARNING\] /, ''))).toEqual(
      events.map((event) => event.message),
    );
    // Each member once: JSON.parse would hide a second one.
    expect(lines('imds-events')[0]!.match(/"log":|"message":|"@timestamp":|"level":/g)).toHaveLength(4);
    expect(readFileSync(join(directory, 'imds-events.ndjson'), 'latin1')).not.toMatch(/\xc2[\x80-\x9f]/);
    expect(logs.errors).toBe(0);
  });

  it('get the same events in another schema', async () => {
    const logs = new LogFiles(directory, context, undefined, 'ocsf');
    writeEvents(logs, 0, 3);
    await logs.close();
    const events = lines('imds-events').map((line) => JSON.parse(line));
    expect(events.map(({ type_uid, actor }) => [type_uid, actor.process.cmd_line])).toEqual(
      range(0, 3).map((i) => [400_203, `client number-${i}. line\nbreak \u009b2J`]),
    );
    expect(lines('imds-trace').map((line) => line.replace(/^\[[^\]]*\] \[WARNING\] /, ''))).toEqual(
      events.map(({ message }) => message),
    );
    expect(readFileSync(join(directory, 'imds-events.ndjson'), 'latin1')).not.toMatch(/\xc2[\x80-\x9f]/);
  });

  it('get what is pending when the process ends without closing them', async () => {
    const others = process.listeners('exit');
    const logs = new LogFiles(directory, context);
    writeEvents(logs, 0, 300);
    const [atExit, ...more] = process.listeners('exit').filter((listener) => !others.includes(listener));
    atExit!(70);
    expect(more).toEqual([]);
    // A write that was under way ends by itself, in a process that exits too.
    await sleep(50);
    expect(numbers('imds-trace')).toEqual(range(0, 300));
    expect(numbers('imds-events')).toEqual(range(0, 300));
    process.off('exit', atExit!);
  });

  it('leave no listener behind when they are closed', async () => {
    const before = process.listenerCount('exit');
    await new LogFiles(directory, context).close();
    expect(process.listenerCount('exit')).toBe(before);
  });

  it.each([0o000, 0o022, 0o077, 0o777])('are for their owner alone under umask %i', async (umask) => {
    const before = process.umask(umask);
    try {
      const logs = new LogFiles(directory, context, { maxBytes: 1000, maxFiles: 2 });
      writeEvents(logs, 0, 5);
      await logs.close();
    } finally {
      process.umask(before);
    }
    expect(mode(directory)).toBe(0o700);
    expect(readdirSync(directory).map((name) => mode(join(directory, name)))).toEqual(Array(6).fill(0o600));
  });

  it('take away rights that others have on what is there', async () => {
    mkdirSync(directory, { mode: 0o755 });
    chmodSync(directory, 0o777);
    writeFileSync(join(directory, 'imds-trace.log'), 'old\n');
    chmodSync(join(directory, 'imds-trace.log'), 0o666);
    const logs = new LogFiles(directory, context);
    await logs.close();
    expect(mode(directory)).toBe(0o700);
    expect(mode(join(directory, 'imds-trace.log'))).toBe(0o600);
    expect(lines('imds-trace')).toEqual(['old']);
  });

  const refused = (): TracerError => {
    try {
      new LogFiles(directory, context);
    } catch (error) {
      expect(error).toBeInstanceOf(TracerError);
      return error as TracerError;
    }
    throw new Error('was not refused');
  };

  it.each<[string, () => void]>([
    [
      'a symbolic link in place of a file',
      () => symlinkSync(join(parent, 'victim'), join(directory, 'imds-trace.log')),
    ],
    ['a hard link to another file', () => linkSync(join(parent, 'victim'), join(directory, 'imds-events.ndjson'))],
    ['a directory in place of a file', () => mkdirSync(join(directory, 'imds-trace.log'))],
    ['a FIFO in place of a file', () => spawnSync('mkfifo', [join(directory, 'imds-trace.log')])],
  ])('refuse %s', (_what, plant) => {
    mkdirSync(directory, { mode: 0o700 });
    writeFileSync(join(parent, 'victim'), 'precious', { mode: 0o644 });
    plant();
    expect(refused()).toMatchObject({ code: 'IMDS_LOG_DIR', exitStatus: 2 });
    expect(readFileSync(join(parent, 'victim'), 'utf8')).toBe('precious');
    expect(mode(join(parent, 'victim'))).toBe(0o644);
  });

  it('refuse a file in place of the directory', () => {
    writeFileSync(directory, '');
    expect(refused().message).toContain(directory);
  });

  it.runIf(isRoot)("refuse another's directory and another's link to one, follow their own", async () => {
    mkdirSync(directory, { mode: 0o700 });
    chownSync(directory, 65534, 65534);
    expect(refused().message).toMatch(/belongs to user 65534/);
    chownSync(directory, 0, 0);
    const target = directory;
    directory = join(parent, 'link');
    symlinkSync(target, directory);
    const logs = new LogFiles(directory, context);
    await logs.close();
    spawnSync('chown', ['-h', '65534', directory]);
    expect(refused().message).toMatch(/symbolic link of user 65534/);
  });

  it('end a line that a crash has torn', async () => {
    mkdirSync(directory, { mode: 0o700 });
    writeFileSync(join(directory, 'imds-events.ndjson'), '{"a":1}\n{"torn":', { mode: 0o600 });
    const logs = new LogFiles(directory, context);
    writeEvents(logs, 0, 1);
    await logs.close();
    const found = lines('imds-events');
    expect(found.slice(0, 2)).toEqual(['{"a":1}', '{"torn":']);
    expect(JSON.parse(found[2]!).process.args[1]).toBe('number-0.');
    expect(found).toHaveLength(3);
  });

  it('rotate by size without losing or tearing a line, and keep a bounded number', async () => {
    const logs = new LogFiles(directory, context, { maxBytes: 40_000, maxFiles: 50 });
    for (let i = 0; i < 600; i += 50) {
      writeEvents(logs, i, i + 50);
      await new Promise((resolve) => setTimeout(resolve, 8));
    }
    await logs.close();
    expect(numbers('imds-trace')).toEqual(range(0, 600));
    expect(numbers('imds-events')).toEqual(range(0, 600));
    expect(files('imds-events').length).toBeGreaterThan(10);
    for (const name of readdirSync(directory)) {
      expect(statSync(join(directory, name)).size).toBeLessThanOrEqual(40_000);
      expect(mode(join(directory, name))).toBe(0o600);
      expect(name).toMatch(/^imds-(trace(\.\d+)?\.log|events(\.\d+)?\.ndjson)$/);
    }
    // The youngest first.
    expect(readFileSync(join(directory, 'imds-trace.log'), 'utf8')).toContain('number-599.');
    expect(logs.errors).toBe(0);

    const few = new LogFiles(directory, context, { maxBytes: 10_000, maxFiles: 2 });
    rmSync(join(directory, 'imds-trace.3.log'));
    writeEvents(few, 600, 700);
    await few.close();
    expect(existsSync(join(directory, 'imds-trace.3.log'))).toBe(false);
  });

  it('write a line that is longer than a file may be', async () => {
    const logs = new LogFiles(directory, context, { maxBytes: 100, maxFiles: 3 });
    writeEvents(logs, 0, 3);
    await logs.close();
    expect(numbers('imds-trace')).toEqual([0, 1, 2]);
  });

  it('go on in new files after an outside rotation', async () => {
    const logs = new LogFiles(directory, context);
    writeEvents(logs, 0, 500);
    await new Promise((resolve) => setTimeout(resolve, 20));
    for (const name of ['imds-trace.log', 'imds-events.ndjson'])
      renameSync(join(directory, name), join(directory, `${name}-20261121`));
    writeEvents(logs, 500, 600);
    logs.reopen();
    writeEvents(logs, 600, 1000);
    await logs.close();
    expect(mode(join(directory, 'imds-trace.log'))).toBe(0o600);
    expect(readFileSync(join(directory, 'imds-trace.log'), 'utf8')).toContain('number-999.');
    expect(numbers('imds-trace')).toEqual(range(0, 1000));
    expect(numbers('imds-events')).toEqual(range(0, 1000));
    expect(logs.errors).toBe(0);
  });

  it('follow a directory that was replaced, when they are asked to reopen', async () => {
    const logs = new LogFiles(directory, context);
    renameSync(directory, join(parent, 'moved'));
    writeEvents(logs, 0, 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    logs.reopen();
    writeEvents(logs, 1, 2);
    await logs.close();
    expect(numbers('imds-trace')).toEqual([1]);
    expect(readFileSync(join(parent, 'moved', 'imds-trace.log'), 'utf8')).toContain('number-0.');
  });

  it('say that a reopen failed, and go on', async () => {
    const logs = new LogFiles(directory, context, undefined, undefined, (message) => said.push(message));
    renameSync(directory, join(parent, 'moved'));
    writeFileSync(directory, 'in the way');
    logs.reopen();
    expect(said).toEqual([expect.stringContaining('the logs were not opened anew')]);
    writeEvents(logs, 0, 1);
    await logs.close();
    expect(readFileSync(join(parent, 'moved', 'imds-trace.log'), 'utf8')).toContain('number-0.');
  });

  it('have room again once what waited has been written', async () => {
    const logs = new LogFiles(directory, context);
    const onDisk = () =>
      [...files('imds-trace'), ...files('imds-events')].map((name) => statSync(join(directory, name)).size);
    writeEvents(logs, 0, 2000);
    const written = (): number => onDisk().reduce((sum, size) => sum + size, 0);
    // No more than the first line can have been.
    expect(written()).toBeLessThan(10_000);
    await logs.room();
    expect(written()).toBeGreaterThan(100_000);
    await logs.close();
  });

  it('have all of a burst on disk once they are closed', async () => {
    const logs = new LogFiles(directory, context);
    writeEvents(logs, 0, 4000);
    await logs.close();
    expect(numbers('imds-trace')).toEqual(range(0, 4000));
    expect(logs.errors).toBe(0);
  });
});

describe('a file that can not be written', () => {
  const say = (message: string): void => {
    said.push(message.replaceAll(directory, 'DIR'));
  };
  const open = (rotation = { maxBytes: 1e9, maxFiles: 1 }): RotatingFile => {
    opened = new PrivateDirectory(directory);
    return new RotatingFile(opened, 'imds-trace', 'log', rotation, say);
  };
  let opened: PrivateDirectory;
  afterEach(() => opened.close());
  const append = (file: RotatingFile, from: number, to: number, padding = 0): void => {
    for (let i = from; i < to; i++) file.append(`number-${i}. ${'x'.repeat(padding)}`);
  };
  const mount = (...args: string[]): void => expect(spawnSync('mount', args).status, args.join(' ')).toBe(0);

  it('keeps a bounded amount, counts what it drops, and never throws', async () => {
    const file = open();
    const line = 'x'.repeat(64 * 1024 - 1);
    for (let i = 0; i < 200; i++) file.append(line);
    // 8 MiB are 128 such lines.
    expect(file.lost).toBe(72);
    await file.close();
    expect(statSync(join(directory, 'imds-trace.log')).size).toBe(128 * 64 * 1024);
    expect(file.lost).toBe(72);
  });

  it.runIf(canMount)('survives a full disk: nothing torn, nothing twice, and it says so', async () => {
    mkdirSync(directory, { mode: 0o700 });
    mount('-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'tmpfs', directory);
    try {
      const file = open();
      append(file, 0, 100, 1000);
      await expect.poll(() => file.failing).toBe(true);
      expect(said).toEqual([expect.stringMatching(/^DIR\/imds-trace.log can't be written.*ENOSPC/)]);
      // With the disk full there is no waiting for it.
      append(file, 100, 2000, 1000);
      await file.room();
      expect(file.pendingBytes).toBeGreaterThan(1024 * 1024);
      mount('-o', 'remount,size=8m', directory);
      await expect.poll(() => file.failing, { timeout: 5000 }).toBe(false);
      expect(said[1]).toMatch(/^DIR\/imds-trace.log is written again after [123] s; lost meanwhile: 0$/);
      await file.close();
      expect(numbers('imds-trace')).toEqual(range(0, 2000));
      expect(file.lost).toBe(0);
      expect(said).toHaveLength(2);
    } finally {
      spawnSync('umount', ['-l', directory]);
    }
  });

  it.runIf(canMount)('counts exactly what an outage has cost', async () => {
    mkdirSync(directory, { mode: 0o700 });
    mount('-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'tmpfs', directory);
    try {
      const file = open();
      append(file, 0, 100, 1000);
      await expect.poll(() => file.failing).toBe(true);
      append(file, 100, 20_000, 1000);
      const { lost } = file;
      expect(lost).toBeGreaterThan(10_000);
      mount('-o', 'remount,size=32m', directory);
      await expect.poll(() => file.failing, { timeout: 5000 }).toBe(false);
      await expect.poll(() => file.pendingBytes).toBe(0);
      append(file, 20_000, 20_010);
      await file.close();
      const written = numbers('imds-trace');
      expect(written).toEqual([...range(0, 20_000 - lost), ...range(20_000, 20_010)]);
      expect(said[1]).toMatch(new RegExp(`lost meanwhile: ${lost}$`));
    } finally {
      spawnSync('umount', ['-l', directory]);
    }
  });

  it.runIf(canMount)('ends in time on a disk that stays full', async () => {
    mkdirSync(directory, { mode: 0o700 });
    mount('-t', 'tmpfs', '-o', 'size=16k,mode=0700', 'tmpfs', directory);
    try {
      opened = new PrivateDirectory(directory);
      const logs = new LogFiles(directory, context);
      writeEvents(logs, 0, 200);
      await logs.close();
      // A line that was begun and not ended counts as lost.
      const whole = (name: string): number => readFileSync(join(directory, name), 'utf8').split('\n').length - 1;
      expect(logs.errors).toBe(400 - whole('imds-trace.log') - whole('imds-events.ndjson'));
    } finally {
      spawnSync('umount', ['-l', directory]);
    }
  });

  const loopImage = (): { image: string; device: string } => {
    const image = join(parent, 'image');
    writeFileSync(image, '');
    spawnSync('truncate', ['-s', '4M', image]);
    expect(spawnSync('mkfs.ext4', ['-q', '-O', '^has_journal', '-e', 'remount-ro', image]).status).toBe(0);
    mkdirSync(directory, { mode: 0o700 });
    mount('-o', 'loop', image, directory);
    chmodSync(directory, 0o700);
    const device = spawnSync('findmnt', ['-no', 'SOURCE', directory], { encoding: 'utf8' }).stdout.trim();
    return { image, device };
  };

  it.runIf(canLoop)(
    `goes on where a file system that became read-only was taken away${canLoop ? '' : NO_LOOP}`,
    async () => {
      const { device } = loopImage();
      try {
        const file = open();
        append(file, 0, 10);
        await expect.poll(() => file.pendingBytes).toBe(0);
        // As the kernel does when it finds a fault on the disk.
        writeFileSync(`/sys/fs/ext4/${device.slice('/dev/'.length)}/trigger_fs_error`, 'x');
        append(file, 10, 20);
        await expect.poll(() => file.failing).toBe(true);
        expect(said[0]).toMatch(/EROFS/);
        // Not to be had writable again without a check of it, as which its removal stands here.
        spawnSync('umount', ['-l', directory]);
        await expect.poll(() => file.failing, { timeout: 5000 }).toBe(false);
        await file.close();
        expect(numbers('imds-trace')).toEqual(range(10, 20));
        expect(file.lost).toBe(0);
      } finally {
        spawnSync('umount', ['-l', directory]);
      }
    },
  );

  it.runIf(canLoop)(
    `goes on in a file system that was put in place of a broken one${canLoop ? '' : NO_LOOP}`,
    async () => {
      loopImage();
      try {
        const file = open();
        append(file, 0, 10);
        await expect.poll(() => file.pendingBytes).toBe(0);
        // EXT4_IOC_SHUTDOWN: from now on everything is EIO.
        const shutdown = `import fcntl, os, struct; fcntl.ioctl(os.open(${JSON.stringify(directory)}, 0), 0x8004587d, struct.pack('I', 2))`;
        expect(spawnSync('python3', ['-c', shutdown]).status).toBe(0);
        append(file, 10, 20);
        await expect.poll(() => file.failing).toBe(true);
        expect(said[0]).toMatch(/EIO/);
        spawnSync('umount', ['-l', directory]);
        await expect.poll(() => file.failing, { timeout: 5000 }).toBe(false);
        await file.close();
        expect(numbers('imds-trace')).toEqual(range(10, 20));
      } finally {
        spawnSync('umount', ['-l', directory]);
      }
    },
  );

  it('makes a file anew that was deleted under it', async () => {
    const file = open();
    append(file, 0, 10);
    await expect.poll(() => file.pendingBytes).toBe(0);
    rmSync(join(directory, 'imds-trace.log'));
    append(file, 10, 20);
    await file.close();
    expect(numbers('imds-trace')).toEqual(range(10, 20));
    expect(said).toEqual(['DIR/imds-trace.log was removed, and is made anew']);
  });

  it('makes a directory anew that was removed, for both files', async () => {
    const logs = new LogFiles(directory, context, undefined, undefined, say);
    opened = new PrivateDirectory(directory);
    writeEvents(logs, 0, 10);
    await expect.poll(() => numbers('imds-trace').length).toBe(10);
    rmSync(directory, { recursive: true });
    writeEvents(logs, 10, 20);
    await logs.close();
    expect(numbers('imds-trace')).toEqual(range(10, 20));
    expect(numbers('imds-events')).toEqual(range(10, 20));
    expect(mode(directory)).toBe(0o700);
    expect(logs.errors).toBe(0);
  });

  it.runIf(isRoot)("does not follow another's link that took the directory's place", async () => {
    const file = open();
    append(file, 0, 10);
    await expect.poll(() => file.pendingBytes).toBe(0);
    rmSync(directory, { recursive: true });
    const elsewhere = join(parent, 'elsewhere');
    mkdirSync(elsewhere, { mode: 0o700 });
    symlinkSync(elsewhere, directory);
    spawnSync('chown', ['-h', '65534', directory]);
    append(file, 10, 20);
    await expect.poll(() => file.failing).toBe(true);
    expect(said.at(-1)).toMatch(/symbolic link of user 65534/);
    rmSync(directory);
    await expect.poll(() => file.failing, { timeout: 5000 }).toBe(false);
    await file.close();
    expect(readdirSync(elsewhere)).toEqual([]);
    expect(numbers('imds-trace')).toEqual(range(10, 20));
    expect(file.lost).toBe(0);
  });

  it('goes on in a file that an outside program has cut', async () => {
    const file = open({ maxBytes: 1000, maxFiles: 5 });
    append(file, 0, 50);
    await expect.poll(() => file.pendingBytes).toBe(0);
    writeFileSync(join(directory, 'imds-trace.log'), '');
    append(file, 50, 60);
    await file.close();
    expect(numbers('imds-trace')).toEqual(range(50, 60));
    expect(files('imds-trace')).toEqual(['imds-trace.log']);
  });

  it('goes on in a file that can not be rotated', async () => {
    const file = open({ maxBytes: 100, maxFiles: 1 });
    mkdirSync(join(directory, 'imds-trace.1.log', 'x'), { recursive: true });
    append(file, 0, 30);
    await file.close();
    // Once, though it was tried again and again.
    expect(said).toEqual([expect.stringMatching(/^DIR\/imds-trace.log can't be rotated, and grows: /)]);
    const text = readFileSync(join(directory, 'imds-trace.log'), 'utf8');
    expect(text.split('\n').slice(0, -1)).toEqual(range(0, 30).map((i) => `number-${i}. `));
    expect(file.lost).toBe(0);
  });
});

describe('rotated files', () => {
  const text = (name: string): string => readFileSync(join(directory, name), 'utf8');
  const pathOf = (number: number): string => join(directory, String(number));
  beforeEach(() => mkdirSync(directory));

  it('keep their order whatever the clock says', () => {
    for (let i = 0; i < 5; i++) {
      writeFileSync(pathOf(0), `${i}`);
      // Each a day older than the one before.
      utimesSync(pathOf(0), 1e9 - i * 86_400, 1e9 - i * 86_400);
      shiftFiles(pathOf, 3);
    }
    expect(readdirSync(directory).sort()).toEqual(['1', '2', '3']);
    expect(['1', '2', '3'].map(text)).toEqual(['4', '3', '2']);
  });

  it('are not put out by a rotation that fails again and again', () => {
    for (const name of ['0', '1']) writeFileSync(join(directory, name), name);
    mkdirSync(join(directory, '2', 'full'), { recursive: true });
    for (let i = 0; i < 5; i++) expect(() => shiftFiles(pathOf, 2)).toThrow();
    expect(['0', '1'].map(text)).toEqual(['0', '1']);
  });

  it('are as few as they may be now, not as many as before', () => {
    for (let i = 0; i < 9; i++) writeFileSync(pathOf(i), String(i));
    shiftFiles(pathOf, 2);
    expect(readdirSync(directory).sort()).toEqual(['1', '2']);
    expect(['1', '2'].map(text)).toEqual(['0', '1']);
  });
});
