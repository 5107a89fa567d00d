import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inspectProcess, packageFolders } from '../../src/audit/running.js';
import { testWith } from '../e2e/support/kernel.js';

let base: string;
let child: ChildProcess | undefined;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'imds-running-'));
});
afterEach(() => {
  child?.kill('SIGKILL');
  rmSync(base, { recursive: true, force: true });
});

/** Starts a program that says a line once it runs. */
async function start(
  args: [string, ...string[]],
  cwd = '/',
): Promise<{ pid: number; executable: string; args: string[] }> {
  child = spawn(args[0], args.slice(1), { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout!, 'data');
  return { pid: child.pid!, executable: readlinkSync(`/proc/${child.pid}/exe`), args };
}

function put(path: string, text: string): void {
  mkdirSync(dirname(join(base, path)), { recursive: true });
  writeFileSync(join(base, path), text);
}

describe('a running process', () => {
  it('of Node has the modules of the folders above its script, the nearest first', async () => {
    put('app/bin/main.js', 'console.log("up"); setInterval(() => {}, 1000);');
    put('app/node_modules/@alicloud/credentials/package.json', '{"version":"2.3.1"}');
    put('node_modules/@alicloud/credentials/package.json', '{"version":"2.4.7"}');
    put('node_modules/aws-sdk/package.json', '{"version":"2.1693.0"}');
    const process = await start(['node', 'bin/main.js'], join(base, 'app'));
    expect(await inspectProcess(process)).toEqual([
      {
        kind: 'npm',
        name: '@alicloud/credentials',
        version: '2.3.1',
        how: 'process',
        path: join(base, 'app/node_modules/@alicloud/credentials/package.json'),
        status: 'too_old',
        minimum: '2.4.0',
      },
      {
        kind: 'npm',
        name: 'aws-sdk',
        version: '2.1693.0',
        how: 'process',
        path: join(base, 'node_modules/aws-sdk/package.json'),
        status: 'ok',
        minimum: '2.722.0',
      },
    ]);
  });

  it('has nothing where what is there is no version, no JSON or no file', async () => {
    put('main.js', 'console.log("up"); setInterval(() => {}, 1000);');
    put('node_modules/aws-sdk/package.json', '{"version":"2.0.0\\u001b[2J"}');
    put('a/node_modules/aws-sdk/package.json', '[');
    mkdirSync(join(base, 'node_modules/@alicloud/credentials/package.json'), { recursive: true });
    expect(await inspectProcess(await start(['node', 'main.js'], base))).toEqual([]);
  });

  it('has the folders of packages that it maps files from, whatever else it maps', () => {
    const line = (path: string) => `7f0000000000-7f0000001000 r--p 00000000 08:01 123   ${path}\n`;
    const maps = [
      line('/opt/my app/lib/python3.11/site-packages/yaml/_yaml.so'),
      line('/opt/my app/lib/python3.11/site-packages/other/site-packages/x.so'),
      line('/usr/lib/python3/dist-packages/apt_pkg.so (deleted)'),
      line('[heap]'),
      '7f0000000000-7f0000001000 rw-p 00000000 00:00 0\n',
      line('/site-packages'),
      // A megabyte of beginnings.
      ...Array<string>(260).fill(line('/a '.repeat(1_300))),
    ].join('');
    expect([...packageFolders(maps)]).toEqual([
      '/opt/my app/lib/python3.11/site-packages',
      '/usr/lib/python3/dist-packages',
    ]);
  });

  it('that is another by now, or gone, is not looked into', async () => {
    put('main.js', 'console.log("up"); setInterval(() => {}, 1000);');
    put('node_modules/aws-sdk/package.json', '{"version":"2.0.0"}');
    const process = await start(['node', 'main.js'], base);
    expect(await inspectProcess(process)).toHaveLength(1);
    expect(await inspectProcess({ ...process, executable: '/usr/bin/curl' })).toEqual([]);
    child!.kill('SIGKILL');
    await once(child!, 'exit');
    expect(await inspectProcess(process)).toEqual([]);
  });

  testWith(['python3'], 'of Python has the packages of its virtual environment', async () => {
    const python = await start(['python3', '-uc', 'import sys, time; print(sys.version_info[1]); time.sleep(60)']);
    const version = /python(3\.\d+)/.exec(python.executable)![1]!;
    child!.kill('SIGKILL');
    put('venv/bin/keep', '');
    put(`venv/lib/python${version}/site-packages/alibabacloud_credentials-0.3.2.dist-info/METADATA`, '');
    put(`venv/lib/python${version}/site-packages/not_known-9.dist-info/METADATA`, '');
    // What `python3 -m venv` makes: a link to the interpreter, by which argv and the folder of packages are known.
    symlinkSync(python.executable, join(base, 'venv/bin/python'));
    const process = await start([join(base, 'venv/bin/python'), '-uc', 'import time; print(1); time.sleep(60)']);
    expect(await inspectProcess(process)).toContainEqual({
      kind: 'pip',
      name: 'alibabacloud-credentials',
      version: '0.3.2',
      how: 'process',
      status: 'too_old',
      minimum: '0.3.6',
      path: join(base, `venv/lib/python${version}/site-packages/alibabacloud_credentials-0.3.2.dist-info`),
    });
  });
});
