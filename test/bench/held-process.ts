import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** A program that says a word when it is ready and ends with its standard input, so that it never outlives this process. */
export interface HeldProcess {
  readonly pid: number;
  end(): Promise<void>;
}

/** Resolves when it is ready. Rejects with what it complained of when it ends before. */
export async function hold(argv: readonly string[]): Promise<HeldProcess> {
  const child = spawn(argv[0]!, argv.slice(1), { stdio: ['pipe', 'pipe', 'pipe'] });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  child.stdin.on('error', () => {});
  const closed = once(child, 'close');
  const ready = await Promise.race([once(child.stdout, 'data').then(() => true), closed.then(() => false)]);
  if (!ready) throw new Error(`${argv.join(' ')} ended: ${complaint}`);
  return {
    pid: child.pid!,
    end: async () => {
      child.stdin.end();
      await closed;
    },
  };
}
