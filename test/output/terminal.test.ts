import { describe, expect, it } from 'vitest';
import { LearnedSecrets } from '../../src/output/learned.js';
import { LOSSES } from '../../src/output/losses.js';
import { redactEvent } from '../../src/output/redact.js';
import { type TerminalStream, TerminalView } from '../../src/output/terminal.js';
import { formatText, type TextLine } from '../../src/output/text.js';
import { eventOf, requestEvent, stats } from './events.js';

class FakeStream implements TerminalStream {
  written = '';
  writes = 0;
  writableLength = 0;
  fail: Error | undefined;
  #listeners: ((error: Error) => void)[] = [];
  constructor(
    readonly isTTY: boolean,
    public columns = 80,
  ) {}
  write(text: string): boolean {
    if (this.fail) throw this.fail;
    this.written += text;
    this.writes += 1;
    return true;
  }
  on(_event: 'error', listener: (error: Error) => void): void {
    this.#listeners.push(listener);
  }
  emitError(): void {
    for (const listener of this.#listeners) listener(new Error('EPIPE'));
  }
}

const shown = (event = requestEvent()): TextLine => formatText(redactEvent(event, new LearnedSecrets()));
const drawn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 80));
/** Text without the escape sequences that the view itself uses: colours and "erase to the end of the line". */
const plain = (text: string): string => text.replace(/\x1b\[(?:\d+(?:;\d+)*m|K)/g, '');

describe('not in a terminal', () => {
  it('shows the lines, plain, and no status', () => {
    const stream = new FakeStream(false);
    const view = new TerminalView(stream);
    view.line(shown());
    view.status(stats);
    view.close();
    expect(stream.written).toBe(`${shown().line}\n`);
  });
});

describe('in a terminal', () => {
  it('does not wait for one that stands still', () => {
    const set: boolean[] = [];
    const stream = Object.assign(new FakeStream(true), { _handle: { setBlocking: (on: boolean) => set.push(on) } });
    new TerminalView(stream);
    expect(set).toEqual([false]);
  });

  it('shows the lines in colour above a status line that goes away at the end', async () => {
    const stream = new FakeStream(true);
    const view = new TerminalView(stream);
    view.status(stats);
    await drawn();
    expect(plain(stream.written)).toBe(
      '12 requests: 4 without a token, 8 hardened, 0 tokens | 0 unparsed | 0 not attri',
    );
    view.line(shown());
    await drawn();
    view.close();
    expect(stream.written).toContain('\x1b[7m');
    const screen = plain(stream.written).split('\n');
    expect(screen[0]).toMatch(new RegExp(`\\r${shown().line.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`));
    expect(screen).toHaveLength(2);
    expect(stream.written.endsWith('\r\x1b[K')).toBe(true);
  });

  it('says in the status that something was lost, whatever it was', async () => {
    for (const counter of [...LOSSES.map(([, counter]) => counter), 'gaps' as const]) {
      const stream = new FakeStream(true, 200);
      const view = new TerminalView(stream, false);
      view.status({ ...stats, ring_dropped: 0, [counter]: 3 });
      await drawn();
      expect(stream.written, counter).toContain(' 3 lost ');
      view.close();
    }
  });

  it('keeps the status within the width, also after it changed', async () => {
    const stream = new FakeStream(true, 20);
    const view = new TerminalView(stream, false);
    view.status(stats);
    await drawn();
    expect(stream.written).toHaveLength(19);
    stream.columns = 11;
    stream.written = '';
    view.status(stats);
    await drawn();
    expect(plain(stream.written)).toBe('\r12 request');
    view.close();
  });

  it('draws at most every 50 ms, however many events there are', async () => {
    const stream = new FakeStream(true);
    const view = new TerminalView(stream);
    for (let i = 0; i < 1000; i++) {
      view.line(shown());
      view.status(stats);
    }
    await drawn();
    view.close();
    expect(stream.writes).toBeLessThanOrEqual(3);
    expect(plain(stream.written).match(/IMDSv1/g)).toHaveLength(1000);
  });

  it('lets nothing from outside steer the terminal', () => {
    const hostile = '\x1b[2J\x1b]0;owned\x07\u009b1A\r\n\x08\u202e';
    const stream = new FakeStream(true);
    const view = new TerminalView(stream);
    view.line(shown(eventOf([hostile])));
    view.close();
    expect(plain(stream.written).slice(0, -1)).not.toMatch(/[\x00-\x1f\x7f-\x9f\u202e]/);
    expect(stream.written.endsWith('\n')).toBe(true);
  });

  it('shows no colour where none is wanted', () => {
    const stream = new FakeStream(true);
    const view = new TerminalView(stream, false);
    view.line(shown());
    view.close();
    expect(stream.written).toBe(`${shown().line}\n`);
  });

  it('shows a line of the tracer itself', () => {
    const stream = new FakeStream(true);
    const view = new TerminalView(stream);
    const text = formatText({ kind: 'capture-loss', time: 0, lost: { ring: 1 } });
    view.line(text);
    view.line({ ...text, message: 'word' });
    view.close();
    expect(plain(stream.written)).toBe(`${text.line}\n[${text.timestamp}] [ERROR] word\n`);
  });
});

describe('a reader that is slow or gone', () => {
  /** A pipe that takes a piece when it is told to. */
  class SlowStream extends FakeStream {
    taken: (() => void)[] = [];
    override write(text: string, taken?: () => void): boolean {
      this.writableLength += text.length;
      this.taken.push(() => {
        this.writableLength -= text.length;
        taken?.();
      });
      return super.write(text);
    }
  }

  it('asks for a pause while much waits for it, as long as it reads', async () => {
    const stream = new SlowStream(false);
    const view = new TerminalView(stream);
    expect(view.full).toBe(false);
    while (!view.full) view.line(shown());
    await view.room();
    expect(stream.writableLength).toBeGreaterThan(100 * 1024);
    expect(view.full).toBe(true);
    let waited = false;
    const room = view.room().then(() => {
      waited = true;
    });
    for (const take of stream.taken.splice(0)) take();
    await room;
    expect([waited, view.full]).toEqual([true, false]);
    expect(stream.written).not.toContain('not shown');
    view.close();
  });

  it('is not waited for when it stands still, nor is a terminal', async () => {
    const stream = new SlowStream(false);
    const view = new TerminalView(stream);
    while (!view.full) view.line(shown());
    await view.room();
    await expect.poll(() => view.full, { timeout: 5_000 }).toBe(false);
    view.close();
    const terminal = new SlowStream(true);
    terminal.writableLength = 2 * 1024 * 1024;
    expect(new TerminalView(terminal).full).toBe(false);
  });

  it('leaves out lines, says how many, and keeps nothing', () => {
    const stream = new FakeStream(false);
    const view = new TerminalView(stream);
    stream.writableLength = 2 * 1024 * 1024;
    for (let i = 0; i < 5; i++) view.line(shown());
    stream.writableLength = 0;
    view.line(shown());
    view.close();
    expect(stream.written).toBe(`${shown().line}\n... 5 lines not shown: the reader is too slow\n`);
  });

  it('is not written to again after an error', () => {
    const stream = new FakeStream(false);
    const view = new TerminalView(stream);
    stream.emitError();
    view.line(shown());
    view.close();
    expect(stream.written).toBe('');
    const throwing = new FakeStream(true);
    throwing.fail = new Error('EIO');
    const other = new TerminalView(throwing);
    other.line(shown());
    expect(() => other.close()).not.toThrow();
  });
});
