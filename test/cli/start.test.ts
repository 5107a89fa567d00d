import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/package-root.js';
import { connection, GET, onLink, pcap } from '../support/packets.js';

const MAIN = join(packageRoot(), 'dist/cli/main.js');
const PRELOADED = join(packageRoot(), 'test/cli/fixtures/loaded.cjs');

interface Loaded {
  /** Modules of Node's own, without `node:`. */
  builtin: string[];
  /** Relative to the package. */
  files: string[];
}

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-start-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What a run of the built program has loaded by its end. */
function loadedBy(...args: string[]): Loaded {
  const { status, stderr, output } = spawnSync(process.execPath, ['--require', PRELOADED, MAIN, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  expect(status, stderr).toBe(0);
  const { builtin, files } = JSON.parse(output[3]!) as Loaded;
  return { builtin, files: files.map((file) => relative(packageRoot(), file)) };
}

const packagesOf = ({ files }: Loaded): Set<string> =>
  new Set(files.flatMap((file) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? []));

it('is a program by itself, as `bin` of package.json names it', () => {
  // npm links to it; what it was built as has to run.
  const { status, stdout } = spawnSync(MAIN, ['--version'], { encoding: 'utf8' });
  expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
});

describe('what a run does not use is not loaded', () => {
  it('--version: no command', () => {
    const loaded = loadedBy('--version');
    expect(packagesOf(loaded)).toEqual(new Set(['commander']));
    expect(loaded.files.filter((file) => file.startsWith('dist/parts/')).sort()).toEqual([
      'dist/parts/base.js',
      'dist/parts/escape.js',
    ]);
  });

  it('replay to the terminal: no logger, no network, no other command', () => {
    const file = join(folder, 'one.pcap');
    const packets = connection({
      request: GET('/latest/meta-data/'),
      client: { address: '10.0.0.5', port: 1 },
      time: 0,
    });
    writeFileSync(file, pcap(1, onLink('ethernet', packets)));
    const loaded = loadedBy('replay', file);
    expect([...packagesOf(loaded)].filter((name) => !name.startsWith('@koromix/')).sort()).toEqual([
      'commander',
      'koffi',
    ]);
    for (const name of ['http', 'https', 'tls', 'zlib', 'worker_threads', 'fs/promises']) {
      expect(loaded.builtin).not.toContain(name);
    }
    for (const name of ['trace', 'audit', 'report', 'lab', 'logs', 'dump']) {
      expect(loaded.files).not.toContain(`dist/parts/${name}.js`);
    }
  });
});
