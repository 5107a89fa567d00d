import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const native = (...names: string[]): string[] => names.map((name) => join(root, 'native', name));

const CAPTURE = native('capture.c');
const EBPF = native('source_ebpf.c', 'ebpf_host.c', 'ebpf_load.c', 'ebpf_selftest.c', 'ebpf_probe.c', 'objects.S');
// Where the build has left the kernel programs that objects.S takes in.
const OBJECTS = join(root, 'build/Release/obj.target/imds_capture/geni');
const FLAGS = [
  '-std=gnu11',
  '-g',
  '-O1',
  '-D_GNU_SOURCE',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-pthread',
  `-I${join(root, 'native')}`,
];

describe('the native module under the sanitizers', () => {
  const folder = mkdtempSync(join(tmpdir(), 'imds-sanitizers-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  const build = (sanitizers: string): string => {
    const driver = join(folder, sanitizers.replaceAll(',', '-'));
    execFileSync('gcc', [
      ...FLAGS,
      `-I${OBJECTS}`,
      `-fsanitize=${sanitizers}`,
      '-fno-sanitize-recover=all',
      ...CAPTURE,
      ...EBPF,
      join(root, 'test/native/driver.c'),
      ...['-lbpf', '-lelf', '-lz'],
      ...['-o', driver],
    ]);
    return driver;
  };
  const run = (driver: string, mode: string) => {
    const { status, stdout, stderr } = spawnSync(driver, [mode], { encoding: 'utf8', timeout: 50_000 });
    return { status, stdout, stderr };
  };
  const passed = { status: 0, stdout: 'passed\n', stderr: '' };

  let driver: string;
  beforeAll(() => {
    expect(existsSync(OBJECTS)).toBe(true);
    driver = build('address,undefined');
  });

  it('copies hostile records, and lives and dies, without a finding of ASan, LSan or UBSan', () => {
    expect(run(driver, 'batch')).toEqual(passed);
  });

  it.skipIf(process.getuid?.() !== 0)('opens, reads, probes and is refused without a finding (needs root)', () => {
    expect(run(driver, 'host')).toEqual(passed);
  });
});
