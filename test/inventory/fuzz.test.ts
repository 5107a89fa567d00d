import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { takeInventory } from '../../src/inventory/take.js';
import { formatInventory } from '../../src/inventory/text.js';
import type { InventoryItem } from '../../src/inventory/types.js';
import { add, type Entry, goProgram, makeTree, pom, removeTree, zip } from './tree.js';

/** Files of each kind; what is done to their bytes below must neither throw nor make the scan go on without end. */
const SEEDS: Readonly<Record<string, Buffer>> = {
  'a/app.war': zip([
    pom('com.aliyun', 'credentials-java', '0.3.4'),
    { name: 'WEB-INF/lib/x.jar', content: zip([pom('com.aliyun', 'credentials-java', '0.3.5')]) },
    { name: 'WEB-INF/lib/y.jar', content: zip([pom('com.aliyun', 'credentials-java', '0.3.6')]), stored: true },
  ]),
  'a/bin/new': goProgram(['path\tx', 'dep\tgithub.com/aliyun/credentials-go\tv1.3.9\th1:']),
  'a/bin/old': goProgram(['path\tx', 'dep\tgithub.com/aliyun/credentials-go\tv1.3.9\th1:'], 'pointers'),
  'a/node_modules/aws-sdk/package.json': Buffer.from('{"name":"aws-sdk","version":"2.1.0"}'),
  'a/node_modules/.package-lock.json': Buffer.from('{"packages":{"node_modules/x":{"name":"aws-sdk","version":"1"}}}'),
  'a/vendor/composer/installed.json': Buffer.from('[{"name":"aws/aws-sdk-php","version":"1"}]'),
  'a/botocore-1.0.dist-info/METADATA': Buffer.from('Name: botocore\nVersion: 1.0\n'),
  'var/lib/dpkg/status': Buffer.from('Package: cloud-init\nStatus: install ok installed\nVersion: 1:2-3\n'),
  'a/ask.sh': Buffer.from('#!/bin/sh\ncurl http://100.100.100.200/latest/meta-data/\n'),
  'a/cloudinit/version.py': Buffer.from('__VERSION__ = "22.4.2"\n'),
};
const root = makeTree({});
afterAll(() => removeTree(root));

type Change = { at: number; bytes: Uint8Array; cut: number };
function changed(seed: Buffer, { at, bytes, cut }: Change): Buffer {
  const copy = Buffer.from(seed);
  copy.set(bytes.subarray(0, Math.max(copy.length - Math.floor(at * copy.length), 0)), Math.floor(at * copy.length));
  return cut > 0.7 ? copy.subarray(0, Math.floor(cut * copy.length)) : copy;
}

describe('damaged files', () => {
  it('of any kind neither throw nor give more than they have', async () => {
    const change = fc.record({
      at: fc.double({ min: 0, max: 0.9999, noNaN: true }),
      bytes: fc.oneof(
        fc.uint8Array({ maxLength: 16 }),
        fc.constantFrom(Buffer.alloc(8, 0xff), Buffer.alloc(8, 0x7f), Buffer.alloc(8)),
      ),
      cut: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    const changes = fc.tuple(...Object.keys(SEEDS).map(() => change));
    await fc.assert(
      fc.asyncProperty(changes, async (all) => {
        for (const [i, [path, seed]] of Object.entries(SEEDS).entries()) {
          const bytes = changed(seed, all[i]!);
          const entry: Entry = path.startsWith('a/bin/') ? { program: bytes } : bytes;
          add(root, path, entry);
        }
        const { items, scanned } = await takeInventory({ root });
        expect(items.length).toBeLessThan(30);
        expect(scanned.bytes_read).toBeLessThan(4 * 1024 * 1024);
        expect(formatInventory({ items, complete: true, problems: [], scanned }, false)).not.toMatch(
          /[^\n\x20-\x7e\xa0-\uffff]/,
        );
      }),
      { numRuns: 80 },
    );
  });
});

describe('the text', () => {
  it('shows nothing raw, and each item on its own lines', () => {
    const hostile = 'x\x1b[2J\r\nok       npm innocent 1.0\u202e';
    const item: InventoryItem = {
      kind: 'npm',
      name: hostile,
      provider: 'aws',
      version: hostile,
      path: `/${hostile}`,
      root: `/mnt/${hostile}`,
      container_id: hostile,
      minimum: '2.0.0',
      status: 'too_old',
      may_fall_back: true,
      advice: `Raise it from ${hostile}`,
      in_use: 'running',
      pids: [1, 2],
    };
    const unversioned: InventoryItem = {
      ...item,
      kind: 'program',
      name: 'ossfs',
      version: null,
      advice: '',
      status: 'ok',
    };
    const problems = [{ reason: 'not_permitted' as const, count: 2, example: hostile }];
    const scanned = { roots: 1, directories: 1, files: 1000, opened: 0, bytes_read: 0, processes: 3 };
    const text = formatInventory({ items: [unversioned, item], complete: false, problems, scanned }, false);
    expect(text.split('\n').map((line) => line.slice(0, 12))).toEqual([
      'too_old  npm',
      '         /mn',
      '         Rai',
      'ok       pro',
      '         /mn',
      'not seen 2× ',
      '2 clients: 1',
      '',
    ]);
    expect(text).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
    expect(text).toContain('in use by pid 1, 2');
    expect(text).toContain('ok       program ossfs (version not known) (may fall back)\n');
    expect(text).toContain(
      '2 clients: 1 too old, 0 unknown, 1 ok | 1,000 files, 1 directories, 3 processes | not complete',
    );
  });
});
