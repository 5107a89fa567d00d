import { memo } from '../memo.js';
import type { Severity } from './types.js';

/** What stands before the part that matters: `/latest/meta-data/…`, `/volcstack/latest/…`, `/latest/dynamic/…`. */
const ROOTS: ReadonlySet<string> = new Set(['latest', 'volcstack', 'openstack', 'meta-data', 'dynamic']);

/** What a path gives away, by what follows its roots; the first row that fits. `*` is any one segment, and more may follow. */
const TABLE: readonly (readonly [severity: Severity, path: string])[] = [
  // Keys of the instance's role.
  ['critical', 'ram/security-credentials/*'],
  ['critical', 'iam/security-credentials/*'],
  ['critical', 'iam/security_credentials/*'], // Volcengine
  ['critical', 'identity-credentials/ec2/security-credentials/*'], // AWS, for its own agents
  ['critical', 'securitykey'], // Huawei: the agency's keys, no role name asked for
  // The role's name, and what the owner handed to the instance: often with secrets.
  ['high', 'ram/security-credentials'],
  ['high', 'iam/security-credentials'],
  ['high', 'iam/security_credentials'],
  ['high', 'identity-credentials/ec2/security-credentials'],
  ['high', 'iam/info'], // AWS: the instance profile's name
  ['high', 'user-data'],
  ['high', 'user_data'], // Huawei, OpenStack
  ['high', 'vendor-data'],
  ['high', 'vendor_data.json'],
  ['high', 'vendor_data2.json'],
  // Who the instance is, and who may log in.
  ['medium', 'instance-identity'],
  ['medium', 'public-keys'],
  ['medium', 'meta_data.json'], // OpenStack: holds public_keys
];

const ROWS = TABLE.map(([severity, path]) => ({ severity, segments: path.split('/') }));
const DEEPEST = Math.max(...ROWS.map((row) => row.segments.length)) + ROOTS.size;

/** Severity of a judged path (paths.ts). */
export const severityOf = memo((path: string): Severity => {
  const segments = path.split('/', 1 + DEEPEST).slice(1);
  let start = 0;
  while (start < segments.length && ROOTS.has(segments[start]!)) start++;
  const fits = (row: { segments: readonly string[] }) =>
    row.segments.every((wanted, i) => {
      const segment = segments[start + i];
      return segment !== undefined && (wanted === '*' || wanted === segment);
    });
  return ROWS.find(fits)?.severity ?? 'low';
});
