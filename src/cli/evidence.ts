import type { EvidenceDump } from '../output/evidence/dump.js';
import type { LearnedSecrets } from '../output/learned.js';

/** The file of `--evidence`, if there is to be one. Its code is loaded for it alone. */
export async function openEvidence(
  path: string | undefined,
  learned: LearnedSecrets,
  say?: (message: string) => void,
): Promise<EvidenceDump | undefined> {
  if (path === undefined) return undefined;
  return new (await import('../output/evidence/dump.js')).EvidenceDump(path, learned, undefined, say);
}
