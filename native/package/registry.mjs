// Packages of the npm registry, unpacked without being installed: no script of theirs runs.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './run.mjs';

/**
 * Folder of an unpacked package, kept in `cache`.
 * @param {{ name: string, version: string, integrity: string }} wanted `integrity` as in package-lock.json (sha512)
 * @throws Error where what the registry sends has another checksum
 */
export function unpacked({ name, version, integrity }, cache) {
  const folder = join(cache, `${name.replaceAll('/', '+')}-${version}`);
  if (existsSync(join(folder, 'package'))) return join(folder, 'package');
  mkdirSync(folder, { recursive: true });
  const [packed] = JSON.parse(run('npm', ['pack', '--json', '--silent', `${name}@${version}`], { cwd: folder }));
  const archive = join(folder, packed.filename);
  const found = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
  if (found !== integrity) {
    rmSync(folder, { recursive: true });
    throw new Error(`${name} ${version} from the registry has checksum ${found}, not ${integrity}`);
  }
  run('tar', ['-xzf', archive, '--no-same-owner'], { cwd: folder });
  rmSync(archive);
  return join(folder, 'package');
}
