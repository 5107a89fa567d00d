import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, realpathSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { judge } from '../../src/inventory/judge.js';
import { planMounts } from '../../src/inventory/mounts.js';
import { readerOf } from '../../src/inventory/readers/table.js';
import { linkRoots, systemRoots } from '../../src/inventory/roots.js';
import { markUsed, readDeletedFiles } from '../../src/inventory/running.js';
import { Scan } from '../../src/inventory/scan.js';
import { DEFAULT_LIMITS, type Finding, type InventoryItem } from '../../src/inventory/types.js';
import { walk } from '../../src/inventory/walk.js';
import { ProcReader } from '../../src/process/proc.js';
import { makeTree, pom, removeTree, zip } from './tree.js';

const proc = new ProcReader('/proc');
const children: ChildProcess[] = [];
const trees: string[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const tree of trees.splice(0)) removeTree(tree);
});

/** A child that has said that it is ready. */
async function start(command: string, args: readonly string[], cwd: string): Promise<number> {
  const child = spawn(command, args, { cwd, stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  await once(child.stdout!, 'data');
  return child.pid!;
}
function tree(entries: Parameters<typeof makeTree>[0]): string {
  const root = realpathSync(makeTree(entries));
  trees.push(root);
  return root;
}
const newScan = () => new Scan(DEFAULT_LIMITS, undefined, undefined);
const item = (kind: Finding['kind'], name: string, path: string): InventoryItem =>
  judge({ kind, name, version: '1.0.0', path, provider: 'alibaba' }, { root: '/', containerId: null });

describe('what runs', () => {
  it('is known by the file that is run, mapped, open or given as an argument, and may be by where an interpreter is', async () => {
    const root = tree({
      'app/main.mjs': 'console.log("ready"); setInterval(() => {}, 1000);\n',
      'other/x': '',
      'a.jar': 'x',
    });
    const program = join(root, 'ossfs');
    copyFileSync('/bin/sh', program);
    const script = join(root, 'asks.sh');
    writeFileSync(script, 'exec 7<"$1"; echo ready; read end\n');
    const shell = await start('/bin/sh', [script, join(root, 'a.jar')], root);
    const copy = await start(program, ['-c', 'echo ready; read end'], '/');
    const node = await start(process.execPath, ['main.mjs'], join(root, 'app'));
    const items = [
      item('program', 'ossfs', program),
      item('script', 'asks.sh', script),
      item('jar', 'com.aliyun:credentials-java', `${join(root, 'a.jar')}!/BOOT-INF/lib/credentials-java-0.1.jar`),
      item('npm', 'aws-sdk', join(root, 'app/node_modules/aws-sdk/package.json')),
      item('npm', 'aws-sdk', join(root, 'other/node_modules/aws-sdk/package.json')),
      item('program', 'ossfs', '/nowhere/ossfs'),
    ];
    const scan = newScan();
    await markUsed(scan, proc, systemRoots(scan, proc).slice(0, 1), items);
    expect(items.map(({ in_use, pids }) => [in_use, pids])).toEqual([
      ['running', [copy]],
      ['running', [shell]],
      ['running', [shell]],
      ['possible', [node]],
      [null, []],
      [null, []],
    ]);
  });

  it('with a view of its own, as services have, is known by the system’s files', async ({ skip }) => {
    if (process.getuid!() !== 0) skip('needs root, to make a mount namespace');
    const root = tree({});
    const program = join(root, 'ossfs');
    copyFileSync('/bin/sh', program);
    const step = `mount -t tmpfs none /mnt && exec ${program} -c "echo ready; read end"`;
    const pid = await start('unshare', ['--mount', '--propagation', 'private', '/bin/sh', '-c', step], '/');
    const items = [item('program', 'ossfs', program)];
    const scan = newScan();
    const roots = systemRoots(scan, proc);
    linkRoots(roots, planMounts(roots));
    await markUsed(scan, proc, roots, items);
    expect(items.map(({ in_use, pids }) => [in_use, pids])).toEqual([['running', [pid]]]);
  });

  it('though its file is gone is read all the same', async () => {
    const root = tree({ 'old.jar': zip([pom('com.aliyun', 'credentials-java', '0.3.1')]) });
    const program = join(root, 'ossfs');
    copyFileSync('/bin/sh', program);
    await start(program, ['-c', 'exec 7<"$0"; echo ready; read end', join(root, 'old.jar')], root);
    unlinkSync(program);
    unlinkSync(join(root, 'old.jar'));
    const scan = newScan();
    await readDeletedFiles(scan, proc, systemRoots(scan, proc).slice(0, 1));
    const found = scan.findings.map(({ finding }) => finding).filter(({ path }) => path.startsWith(root));
    expect(found).toEqual([
      { kind: 'program', name: 'ossfs', version: null, path: `${program} (deleted)`, capable: false },
      { kind: 'jar', name: 'com.aliyun:credentials-java', version: '0.3.1', path: `${root}/old.jar (deleted)` },
    ]);
    expect(judge(found[1]!, { root: '/', containerId: null }).advice).toContain('restart');
  });
});

describe('a container', () => {
  it('is looked through by its own root, and its layers are not a second time', async ({ skip }) => {
    if (process.getuid!() !== 0) skip('needs root, to make a mount namespace');
    const root = tree({
      'lower/srv/node_modules/aws-sdk/package.json': '{"name":"aws-sdk","version":"2.1.0"}',
      'upper/srv/asks.sh': 'curl http://100.100.100.200/latest/meta-data/\n',
    });
    for (const name of ['work', 'merged']) mkdirSync(join(root, name));
    const steps = [
      'mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged'.replace(/=(\w+)/g, `=${root}/$1`),
      'cd merged && mkdir proc old && mount -t tmpfs none proc',
      'pivot_root . old && cd /',
      'echo ready && read end',
    ];
    let pid: number;
    try {
      pid = await start('unshare', ['--mount', '--propagation', 'private', '/bin/sh', '-c', steps.join(' && ')], root);
    } catch (error) {
      return skip(`no overlay in a mount namespace here: ${String(error)}`);
    }
    const scan = newScan();
    const roots = systemRoots(scan, proc);
    const namespace = proc.link(`${pid}/ns/mnt`);
    const index = roots.findIndex((candidate) => candidate.namespace === namespace);
    expect(index).toBeGreaterThan(0);
    const plans = planMounts(roots);
    expect(['lower', 'upper'].map((layer) => plans[0]!.get(join(root, layer)))).toEqual(['twice', 'twice']);
    scan.root = roots[index]!.label;
    await walk(scan, roots[index]!.open(scan)!, plans[index]!, (directory, name) =>
      readerOf(directory, name)(scan, directory, name),
    );
    expect(scan.findings.map(({ root: label, finding }) => [label, finding.kind, finding.path]).sort()).toEqual([
      [`/proc/${pid}/root`, 'npm', '/srv/node_modules/aws-sdk/package.json'],
      [`/proc/${pid}/root`, 'script', '/srv/asks.sh'],
    ]);
  });
});
