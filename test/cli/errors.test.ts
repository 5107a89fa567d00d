import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { run } from '../e2e/support/run.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** ESC, a C1 control, and a character that turns the direction of what follows. */
const HOSTILE = '/nowhere/\u001b[31m\u009b5m\u202e/x';

describe('an error', () => {
  it.each([
    ['a path that the system repeats', ['audit', '--duration', '5s', '--out', HOSTILE], 'IMDS_AUDIT_DIR'],
    ['a path of ours', ['inventory', '--root', HOSTILE], 'IMDS_ROOT_UNREADABLE'],
    ['a packet file', ['replay', HOSTILE], 'IMDS_FILE_UNREADABLE'],
    ['a choice', ['inventory', '--provider', HOSTILE], '--provider'],
    ['an option', ['service', 'status', `--${HOSTILE}`], 'unknown option'],
    ['a command', [HOSTILE], 'unknown command'],
  ])('shows %s without what would steer a terminal, and is wrong usage', async (_, args, text) => {
    const { status, stdout, stderr } = await run([process.execPath, MAIN, ...args]);
    expect(status).toBe(2);
    expect(stderr).toContain(text);
    expect(stderr).toContain('\\x1b[31m');
    expect(stdout + stderr).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
  });
});
