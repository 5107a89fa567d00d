import { describe, expect, it } from 'vitest';
import { Constants, Layout, NativeErrors } from '../../src/capture/layout.js';
import { load, nativeModule } from '../../src/capture/native.js';
import { RESPONSE_DEADLINE_MS } from '../../src/pipeline.js';
import { REORDER_INTERVAL_MS, SWEEP_INTERVAL_MS } from '../../src/wire/flow-table.js';
import {
  ACCESS_KEY_SCAN_BYTES,
  FLOW_LINGER_MS,
  HOLE_TIMEOUT_MS,
  MAX_FLOWS,
  MAX_LINGERING_FLOWS,
} from '../../src/wire/limits.js';

describe('the record layout', () => {
  it('is the one that the native module was compiled with, field by field', () => {
    const compiled = new Map<string, number>();
    const constants = new Map<string, number>();
    for (const line of nativeModule().layout().trim().split('\n')) {
      const [name, offset, size] = line.split(' ');
      (size === undefined ? constants : compiled).set(name!, Number(offset));
    }
    const ours = Object.entries(Layout).flatMap(([struct, fields]) =>
      Object.entries(fields).map(([field, offset]): [string, number] => [`${struct}.${field}`, offset]),
    );
    expect(new Map(ours)).toEqual(compiled);
    const errors = Object.entries(NativeErrors).map(([name, code]): [string, number] => [`error:${name}`, code]);
    expect(new Map([...Object.entries<number>(Constants), ...errors])).toEqual(constants);
  });
});

describe('what the native module knows of the connections that are followed', () => {
  it('is what their table does', () => {
    expect(Constants).toMatchObject({
      sweepMs: SWEEP_INTERVAL_MS,
      reorderMs: REORDER_INTERVAL_MS,
      lingerMs: FLOW_LINGER_MS,
      exchangeBody: ACCESS_KEY_SCAN_BYTES,
    });
  });

  it('reaches as far as the table does: what the one has forgotten the other does not know any more', () => {
    expect(Constants.tableFlows).toBeGreaterThanOrEqual(MAX_FLOWS);
    expect(Constants.passed).toBeGreaterThanOrEqual(MAX_LINGERING_FLOWS);
  });

  it('takes nothing for an exchange that may have met a deadline', () => {
    expect(Constants.exchangeMs).toBeLessThan(Math.min(RESPONSE_DEADLINE_MS, HOLE_TIMEOUT_MS));
  });
});

describe('loading the native module', () => {
  it('says where it is missing and how to build it', () => {
    expect(() => load('/nonexistent/imds_capture.so')).toThrow(
      expect.objectContaining({ code: 'IMDS_E_LIBRARY', exitStatus: 3, remedy: 'Build it: npm run setup' }),
    );
  });

  it('says so when the file is no library of ours', () => {
    expect(() => load(process.execPath)).toThrow(expect.objectContaining({ code: 'IMDS_E_LIBRARY', exitStatus: 3 }));
  });
});
