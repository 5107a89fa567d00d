import { describe, expect, it } from 'vitest';
import { ProgressView } from '../../src/audit/progress.js';

function stream(isTTY: boolean, columns = 200) {
  const written: string[] = [];
  return {
    isTTY,
    columns,
    writableLength: 0,
    written,
    on: () => undefined,
    write: (text: string) => written.push(text) > 0,
  };
}

const PROGRESS = { remainingMs: 3_725_000, requests: 12, clients: 3, normalMode: 4 };

describe('the progress of an audit', () => {
  it('is one line that changes in a terminal', () => {
    const terminal = stream(true);
    const view = new ProgressView(terminal);
    view.update(PROGRESS);
    view.update({ ...PROGRESS, requests: 13 });
    view.close();
    expect(terminal.written.join('')).toBe(
      '\r\u001b[K1 h 2 min left, 12 requests (4 without a token) of 3 clients' +
        '\r\u001b[K1 h 2 min left, 13 requests (4 without a token) of 3 clients\r\u001b[K',
    );
  });

  it('fits the terminal', () => {
    const terminal = stream(true, 20);
    new ProgressView(terminal).update(PROGRESS);
    expect(terminal.written.join('').replace('\r\u001b[K', '')).toHaveLength(19);
  });

  it('is a plain line a minute elsewhere', () => {
    const pipe = stream(false);
    let now = 0;
    const view = new ProgressView(pipe, () => now);
    for (; now < 150_000; now += 1000) view.update(PROGRESS);
    view.close();
    expect(pipe.written).toHaveLength(3);
    for (const line of pipe.written) expect(line).toMatch(/^imds-tracer: audit: [\x20-\x7e]+\n$/);
  });

  it('names who goes without a token, printable and not without end', () => {
    const pipe = stream(false);
    const view = new ProgressView(pipe);
    for (let i = 0; i < 1000; i++) view.finding({ command: '\u001b[2Jx\n', unit: '\u202e.service' }, '/\r');
    expect(pipe.written).toHaveLength(100);
    for (const line of pipe.written) expect(line).toMatch(/^imds-tracer: without a token: [\x20-\x7e]+\n$/);
  });

  it('waits for a reader that stands still, and outlives one that has gone', () => {
    const slow = stream(true);
    slow.writableLength = 1e6;
    new ProgressView(slow).update(PROGRESS);
    expect(slow.written).toEqual([]);
    const gone = {
      ...stream(true),
      write: () => {
        throw new Error('EIO');
      },
    };
    expect(() => new ProgressView(gone).update(PROGRESS)).not.toThrow();
  });
});
