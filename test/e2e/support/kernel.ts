import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'vitest';

/** linux/capability.h */
const CAP_NET_ADMIN = 12n;
const CAP_SYS_ADMIN = 21n;

/** Why tests on the real kernel can't run here; undefined where they can. */
function unmetNeed({ btf }: { btf: boolean }): string | undefined {
  if (process.geteuid?.() !== 0) return 'needs root, for network namespaces and eBPF';
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
  const has = (capability: bigint) => ((BigInt(`0x${effective}`) >> capability) & 1n) === 1n;
  if (!has(CAP_SYS_ADMIN) || !has(CAP_NET_ADMIN))
    return 'needs CAP_SYS_ADMIN and CAP_NET_ADMIN: a privileged container';
  if (btf && !existsSync('/sys/kernel/btf/vmlinux')) return 'needs a kernel with BTF, for arguments and ancestors';
  return undefined;
}

/** A `describe` of tests that run the built tracer; skipped, with the reason in its name, where that is impossible. */
export const describeOnKernel = (name: string, tests: () => void): void =>
  describeUnless(unmetNeed({ btf: true }), name, tests);

/** The same of tests that expect nothing that only a kernel with BTF gives. */
export const describeWithOrWithoutBtf = (name: string, tests: () => void): void =>
  describeUnless(unmetNeed({ btf: false }), name, tests);

function describeUnless(unmet: string | undefined, name: string, tests: () => void): void {
  if (unmet === undefined) describe(name, tests);
  else describe.skip(`${name} (skipped: ${unmet})`, tests);
}

/** Whether all the commands are on the PATH. */
export function isInstalled(...commands: readonly string[]): boolean {
  const folders = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`.split(':');
  return commands.every((command) =>
    folders.some((folder) => {
      try {
        accessSync(join(folder, command), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    }),
  );
}

/** A `test` that is skipped, with the reason in its name, where a command is not installed. */
export function testWith(commands: readonly string[], name: string, body: () => Promise<void>): void {
  const missing = commands.filter((command) => !isInstalled(command));
  if (missing.length === 0) test(name, body);
  else test.skip(`${name} (skipped: needs ${missing.join(', ')})`, body);
}
