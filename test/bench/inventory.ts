import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InventoryResult } from '../../src/inventory/types.js';
import { run, runOk } from '../e2e/support/run.js';
import { TRACER } from './paths.js';
import { atMost, median, type Row } from './rows.js';
import { nodeOptions } from './traced.js';

const FILES_PER_DIRECTORY = 500;
/** One client in so many directories, of which each has to be found. */
const CLIENT_EVERY = 100;
/** Of a million files. */
const GOAL_SECONDS = 60;
const TMPFS_MAGIC = 0x01021994;
const TIMEOUT_MS = 300_000;

/** Names as they are on a system with programs in Python and JavaScript: of ten files three could be programs, three scripts. */
const NAMES = ['program', 'a.py', 'b.js', 'c.html', 'd.json', 'program-2.1', 'e.md', 'LICENSE', 'f.py', 'g.h'];

/** What `inventory` takes for a tree of (empty) files, beside `find`, which only lists them. */
export async function inventorySpeed(rounds: number, files: number): Promise<Row[]> {
  const folder = mkdtempSync(join(inMemory(), 'imds-inventory-'));
  try {
    const clients = makeTree(folder, files);
    const tracer: number[] = [];
    const against: number[] = [];
    let found = 0;
    for (let round = 0; round < rounds; round++) {
      const find = performance.now();
      await runOk(['sh', '-c', 'find "$0" -type f > /dev/null', folder]);
      against.push((performance.now() - find) / 1000);
      const begun = performance.now();
      const command = [process.execPath, ...nodeOptions(), TRACER, 'inventory', '--root', folder, '--format', 'json'];
      const { stdout } = await run(command, { timeoutMs: TIMEOUT_MS });
      tracer.push((performance.now() - begun) / 1000);
      const { items, scanned } = JSON.parse(stdout) as InventoryResult;
      if (scanned.files !== files + clients) throw new Error(`${scanned.files} files seen of ${files + clients}`);
      found = items.length;
    }
    const perMillion = (median(tracer) * 1e6) / files;
    const goal = atMost(GOAL_SECONDS, perMillion, `<= ${GOAL_SECONDS} s a million`);
    return [
      {
        name: `inventory, ${(files / 1000).toLocaleString('en-US')}k files`,
        unit: 's',
        tracer,
        yardstick: 'find -type f',
        against,
        goal: { ...goal, met: goal.met && found === clients },
        note: `${found} of ${clients} clients found`,
      },
    ];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A directory in memory where there is one: the disk is not what is measured. */
function inMemory(): string {
  try {
    return statfsSync('/dev/shm').type === TMPFS_MAGIC ? '/dev/shm' : tmpdir();
  } catch {
    return tmpdir();
  }
}

/** Gives how many clients are in it, each of one more file. */
function makeTree(folder: string, files: number): number {
  let clients = 0;
  for (let made = 0, directory = 0; made < files; directory++) {
    const path = join(folder, `d${directory % 40}`, `d${directory}`);
    mkdirSync(path, { recursive: true });
    for (let i = 0; i < FILES_PER_DIRECTORY && made < files; i++, made++) {
      closeSync(openSync(join(path, `${i}${NAMES[i % NAMES.length]}`), 'w', i % NAMES.length === 0 ? 0o755 : 0o644));
    }
    if (directory % CLIENT_EVERY !== 0) continue;
    const client = join(path, 'node_modules/@alicloud/credentials');
    mkdirSync(client, { recursive: true });
    writeFileSync(join(client, 'package.json'), '{"name":"@alicloud/credentials","version":"2.3.1"}');
    clients += 1;
  }
  return clients;
}
