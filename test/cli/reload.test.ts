import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ROWS, resolveTraceOptions } from '../../src/cli/options.js';
import { differences, explain, reload, type Step } from '../../src/cli/reload.js';
import { usageError } from '../../src/errors.js';

const folder = mkdtempSync(join(tmpdir(), 'imds-reload-'));
const config = join(folder, 'config.yaml');
writeFileSync(config, '');
afterAll(() => rmSync(folder, { recursive: true }));
const options = (given: Record<string, unknown> = {}) => resolveTraceOptions({ config, ...given });

describe('a reload', () => {
  const done: string[] = [];
  const step = (name: string, fails = false): Step => ({
    options: [name],
    apply: async (of) => {
      done.push(`${name} ${of.logDir}`);
      if (fails && of.logDir === '/b') throw usageError('IMDS_TEST', 'that is impossible', 'try something else');
    },
  });

  it('takes the steps whose options differ, and says what it has no step for', async () => {
    done.length = 0;
    const before = options({ logDir: '/a' });
    const after = options({ logDir: '/b', quiet: true, ringSize: '64K', logMaxFiles: '3' });
    const result = await reload(before, before, after, [step('metrics'), step('log-dir'), step('quiet')]);
    expect(done).toEqual(['log-dir /b', 'quiet /b']);
    expect(result.changed).toEqual(['log-dir', 'quiet']);
    expect(result.kept).toEqual(expect.arrayContaining(['log-max-files', 'ring-size']));
    // Again, and then as it was at the start.
    expect(await reload(before, after, after, [step('quiet')])).toEqual({
      changed: [],
      kept: expect.arrayContaining(['ring-size']),
    });
    expect(await reload(before, after, before, [step('quiet')])).toEqual({ changed: ['quiet'], kept: [] });
  });

  it('takes back what it has done where a step fails, the last first', async () => {
    done.length = 0;
    const before = options({ logDir: '/a' });
    const after = options({ logDir: '/b', quiet: true, metrics: '9464' });
    const steps = [step('metrics'), step('quiet'), step('log-dir', true), step('provider')];
    await expect(reload(before, before, after, steps)).rejects.toMatchObject({ code: 'IMDS_TEST' });
    expect(done).toEqual(['metrics /b', 'quiet /b', 'log-dir /b', 'quiet /a', 'metrics /a']);
  });

  it('knows a difference in every option that may stand in the file', () => {
    const other: Record<string, unknown> = {
      provider: ['aws'],
      endpoint: ['10.0.0.1'],
      source: 'pcap',
      interface: 'eth0',
      'log-dir': '/other',
      'log-max-size': '1M',
      'log-max-files': '3',
      format: 'ocsf',
      evidence: '/tmp/x.pcap',
      metrics: '9464',
      ship: ['syslog+tcp://127.0.0.1:514'],
      'spool-dir': '/tmp/spool',
      'spool-size': '1G',
      duration: '1h',
      'ring-size': '64K',
      lab: true,
      quiet: true,
    };
    for (const { name, notInFile } of ROWS) {
      if (notInFile) continue;
      const key = name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
      expect(differences(options(), options({ [key]: other[name] })), name).toContain(name);
    }
    expect(differences(options(), options())).toEqual([]);
  });

  it('explains an error in one line', () => {
    expect(explain(usageError('IMDS_X', 'it is wrong', 'mend it'))).toBe('it is wrong [IMDS_X]: mend it');
    expect(explain(new Error('odd'))).toBe('odd');
  });
});
