import { describe, expect, it } from 'vitest';
import { createEventContext } from '../../src/output/context.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { redactEvent } from '../../src/output/redact.js';
import { formatText } from '../../src/output/text.js';
import type { TracerEvent } from '../../src/output/types.js';
import { MessageMaker, SharedForms } from '../../src/ship/message.js';
import { parseShipUrl } from '../../src/ship/url.js';
import { requestEvent, requestHead, stats } from '../output/events.js';
import { context } from './events.js';

const learned = new LearnedSecrets();

function make(url: string, event: TracerEvent = requestEvent(), about = context): Buffer {
  const shown = redactEvent(event, learned);
  return new MessageMaker(parseShipUrl(url), about).make(shown, formatText(shown), new SharedForms());
}

/** RFC 5424, section 6. */
const SYNTAX =
  /^<(\d{1,3})>1 (\S+Z) ([\x21-\x7e]{1,255}) ([\x21-\x7e]{1,48}) (\d{1,128}) ([\x21-\x7e]{1,32}) (\[meta sequenceId="(\d+)"\]\[origin software="imds-tracer" swVersion="[^"]*"\]) (.*)$/;

const long = (characters: string): TracerEvent =>
  requestEvent({
    request: requestHead({ target: `/${characters}`, headers: [{ name: 'User-Agent', value: characters }] }),
  });

describe('a syslog message', () => {
  it('has the header of RFC 5424, and the text line as it is in the log file', () => {
    const event = redactEvent(requestEvent(), learned);
    const [, priority, time, host, app, pid, id, , sequence, body] = SYNTAX.exec(make('syslog+tcp://h').toString())!;
    expect({ priority, time, host, app, pid, id, sequence }).toEqual({
      priority: String(16 * 8 + 4),
      time: '2026-11-21T03:03:58.120Z',
      host: 'host-1',
      app: 'imds-tracer',
      pid: String(process.pid),
      id: 'imds-request',
      sequence: '1',
    });
    expect(body).toBe(formatText(event).line);
  });

  it('has facility, name and level as they are asked for', () => {
    const event: TracerEvent = { kind: 'capture-loss', time: 1, lost: { ring: 1 } };
    const [, priority, , , app, , id] = SYNTAX.exec(
      make('syslog+udp://h?facility=authpriv&app-name=x', event).toString(),
    )!;
    expect([priority, app, id]).toEqual([String(10 * 8 + 3), 'x', 'capture-loss']);
  });

  it('is numbered for each target', () => {
    const maker = new MessageMaker(parseShipUrl('syslog+tcp://h'), context);
    const event = redactEvent({ kind: 'tracer-stats', time: 1, stats }, learned);
    const numbers = [1, 2, 3].map(
      () => SYNTAX.exec(maker.make(event, formatText(event), new SharedForms()).toString())![8],
    );
    expect(numbers).toEqual(['1', '2', '3']);
  });

  it.each(['ecs', 'ocsf'])('holds one JSON object in the format %s', (format) => {
    const body = SYNTAX.exec(make(`syslog+tcp://h?format=${format}`).toString())![9]!;
    expect(Object.keys(JSON.parse(body) as object).length).toBeGreaterThan(5);
  });

  it.each(['text', 'ecs', 'ocsf', 'cef'])('in the format %s is one printable line that keeps to its size', (format) => {
    for (const characters of ['\n\r\0\x1b[31m\u202e', '\u{1f600}é'.repeat(4000), `"]\\|=${'x'.repeat(9000)}`]) {
      for (const size of [480, 481, 482, 483, 8192]) {
        const message = make(`syslog+udp://h?format=${format}&max-size=${size}`, long(characters));
        expect(message.length).toBeLessThanOrEqual(size);
        // Fatal: no character is cut in two.
        const text = new TextDecoder('utf8', { fatal: true }).decode(message);
        expect(text).toMatch(SYNTAX);
        expect(text).not.toMatch(/[\0-\x1f\x7f-\x9f\u202e]/);
      }
    }
  });

  it('is sent as cut text where its object would not be whole', () => {
    const body = SYNTAX.exec(make('syslog+udp://h?format=ecs&max-size=1000', long('x'.repeat(3000))).toString())![9]!;
    expect(body).toMatch(/^\[.*\] \[WARNING\] IMDSv1\(!\).*\.\.\.$/);
  });

  it('has a host name of ASCII characters, whatever the host is called', () => {
    for (const hostName of ['', 'höst one\n<34>1', 'x'.repeat(500)]) {
      const about = createEventContext({ hostName, version: '0.1.0"]' });
      const message = make('syslog+tcp://h', requestEvent(), about).toString();
      expect(message).toMatch(/^<132>1 2026-11-21T03:03:58\.120Z [\x21-\x7e]{1,255} imds-tracer \d+ imds-request \[/);
      expect(message.split('\n')).toHaveLength(1);
      expect(message).toContain('swVersion="0.1.0\\"\\]"]');
    }
  });
});
