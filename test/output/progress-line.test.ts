import { describe, expect, it } from 'vitest';
import { ProgressLine } from '../../src/output/progress-line.js';

function stream(isTTY: boolean) {
  const written: string[] = [];
  return {
    isTTY,
    columns: 20,
    writableLength: 0,
    written,
    on: () => undefined,
    write: (text: string) => written.push(text) > 0,
  };
}

describe('a progress line', () => {
  it('is drawn over itself, within the terminal, and taken away', () => {
    const terminal = stream(true);
    const line = new ProgressLine(terminal, 0);
    line.show(() => 'a'.repeat(100));
    line.show(() => 'second');
    line.clear();
    line.clear();
    expect(terminal.written.join('')).toBe(`\r\x1b[K${'a'.repeat(19)}\r\x1b[Ksecond\r\x1b[K`);
  });

  it('is not made before its time, nor without a terminal', () => {
    const never = (): string => {
      throw new Error('was made');
    };
    new ProgressLine(stream(true), 1e6).show(never);
    new ProgressLine(stream(false), 0).show(never);
  });

  it('makes room for a line that stays', () => {
    const terminal = stream(true);
    const line = new ProgressLine(terminal, 0);
    line.show(() => 'x');
    line.line('stays\n');
    line.clear();
    expect(terminal.written.join('')).toBe('\r\x1b[Kx\r\x1b[Kstays\n');
  });
});
