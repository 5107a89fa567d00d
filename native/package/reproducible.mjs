// Whether the packages are the same bytes wherever they are made: the whole build twice, from clones in folders of other
// names and depths, with other settings of the shell, each with its own downloads.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { run } from './run.mjs';

const BUILDERS = [
  { folder: 'a', umask: '022', env: { TZ: 'UTC', LC_ALL: 'C' } },
  { folder: 'another/much-longer-name', umask: '077', env: { TZ: 'Asia/Shanghai', LC_ALL: 'C.UTF-8' } },
];

function build({ folder, umask, env }, root, commit, architectures, work) {
  const clone = join(work, folder);
  mkdirSync(clone, { recursive: true });
  run('git', ['-c', 'advice.detachedHead=false', 'clone', '--quiet', '--no-hardlinks', root, clone]);
  run('git', ['checkout', '--quiet', '--detach', commit], { cwd: clone });
  const command = `umask ${umask}; npm install --no-save --no-audit --no-fund --silent; npm run --silent package -- "$@"`;
  run('sh', ['-ec', command, 'sh', ...architectures], { cwd: clone, env: { ...process.env, ...env } });
  return readFileSync(join(clone, 'build/packages/SHA256SUMS'), 'utf8');
}

/** Builds what is committed; `{ status, output }`, with status 0 where both gave the same bytes. */
export function compareBuilds(root, architectures) {
  const commit = run('git', ['rev-parse', 'HEAD'], { cwd: root }).trim();
  const work = mkdtempSync(join(tmpdir(), 'imds-builds-'));
  try {
    const [first, second] = BUILDERS.map((builder) =>
      build(builder, root, commit, architectures, work).trim().split('\n'),
    );
    const different = second.filter((line) => !first.includes(line));
    if (different.length === 0 && first.length === second.length) {
      return {
        status: 0,
        output: `    two builds, ${first.length} files, the same bytes\n${first.map((line) => `    ${line}\n`).join('')}`,
      };
    }
    return {
      status: 1,
      output: `    FAILED: other bytes in the second build:\n${different.map((line) => `    ${line}\n`).join('')}`,
    };
  } finally {
    rmSync(work, { recursive: true });
  }
}
