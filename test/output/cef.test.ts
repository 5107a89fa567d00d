import { describe, expect, it } from 'vitest';
import { formatCef } from '../../src/output/cef.js';
import { createEventContext } from '../../src/output/context.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { redactEvent, type ShownEvent } from '../../src/output/redact.js';
import { formatText } from '../../src/output/text.js';
import { readCef } from './cef-reader.js';
import { eventOf, requestEvent } from './events.js';
import { EVERY_EVENT, HOSTILE, HOSTILE_EVENTS } from './every-event.js';

const context = createEventContext({ hostName: 'web-1', hostId: 'abc', version: '0.1.0' });
const named = (name: string): ShownEvent => EVERY_EVENT.find(([found]) => found === name)![1];
const cef = (event: ShownEvent) => readCef(formatCef(event, context));

/** Keys of CEF's dictionary that are used, and the greatest length of their values; 0 for a whole number. */
const DICTIONARY: Readonly<Record<string, number>> = {
  rt: 0,
  dvchost: 100,
  deviceExternalId: 255,
  externalId: 40,
  cat: 1023,
  outcome: 63,
  reason: 1023,
  src: 15,
  spt: 0,
  dst: 15,
  dpt: 0,
  c6a2: 39,
  c6a2Label: 1023,
  c6a3: 39,
  c6a3Label: 1023,
  proto: 31,
  app: 31,
  requestMethod: 1023,
  request: 1023,
  dhost: 1023,
  requestClientApplication: 1023,
  spid: 0,
  sproc: 1023,
  suid: 1023,
  suser: 1023,
  sourceServiceName: 1023,
  cn1: 0,
  cn1Label: 1023,
  cn2: 0,
  cn2Label: 1023,
  cs1: 4000,
  cs1Label: 1023,
  cs2: 4000,
  cs2Label: 1023,
  cs3: 4000,
  cs3Label: 1023,
  cs4: 4000,
  cs4Label: 1023,
  cs5: 4000,
  cs5Label: 1023,
  cs6: 4000,
  cs6Label: 1023,
  msg: 1023,
};

describe('an event as CEF', () => {
  it.each([...EVERY_EVENT, ...HOSTILE_EVENTS])('is one printable line of known keys: %s', (_, event) => {
    const line = formatCef(event, context);
    expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
    expect(line.length).toBeLessThan(65_536);
    const { version, vendor, product, productVersion, severity, extension } = readCef(line);
    expect([version, vendor, product, productVersion]).toEqual(['CEF:0', 'imds-tracer', 'imds-tracer', '0.1.0']);
    expect(Number(severity)).toBeLessThanOrEqual(10);
    for (const [key, value] of extension) {
      const limit = DICTIONARY[key];
      expect(limit, key).toBeDefined();
      if (limit === 0) expect(value, key).toMatch(/^-?\d+$/);
      else expect(value.length, key).toBeLessThanOrEqual(limit!);
      expect(extension.has(`${key}Label`), key).toBe(/^(?:c6a|cn|cs)\d$/.test(key));
    }
  });

  it('has request, process and response under the keys of the dictionary', () => {
    const event = redactEvent(requestEvent(), new LearnedSecrets());
    const { id, name, severity, extension } = cef(event);
    expect([id, name, severity]).toEqual(['normal_mode', 'Metadata request without a session token', '4']);
    expect(Object.fromEntries(extension)).toEqual({
      rt: String(Date.parse('2026-11-21T03:03:58.120Z')),
      dvchost: 'web-1',
      deviceExternalId: 'abc',
      externalId: context.idOf(event),
      cat: 'imds-request',
      outcome: 'success',
      src: '172.16.0.10',
      spt: '41234',
      dst: '100.100.100.200',
      dpt: '80',
      proto: 'TCP',
      app: 'HTTP',
      requestMethod: 'GET',
      request: '/latest/meta-data/',
      dhost: '100.100.100.200',
      requestClientApplication: 'curl/7.88.1',
      spid: '1016',
      sproc: '/usr/bin/curl',
      suid: '0',
      suser: 'root',
      sourceServiceName: 'ssh.service',
      cn1: '200',
      cn1Label: 'statusCode',
      cs1: 'curl http://100.100.100.200/latest/meta-data/',
      cs1Label: 'commandLine',
      cs2: '/bin/bash ./makeCalls.sh <- -zsh',
      cs2Label: 'calledBy',
      cs3: 'alibaba',
      cs3Label: 'provider',
      cs4: 'low',
      cs4Label: 'severity',
      cs6: 'connect',
      cs6Label: 'attribution',
      msg: formatText(event).message,
    });
  });

  it.each([
    ['normal_mode 2', 'normal_mode', '10'],
    ['hardened 0', 'hardened', '0'],
    ['token_invalid 0', 'token_invalid', '3'],
    ['unparsed', 'unparsed', '5'],
    ['capture-loss', 'capture-loss', '6'],
  ])('%s is %s of severity %s', (name, id, severity) => {
    const line = cef(named(name));
    expect([line.id, line.severity]).toEqual([id, severity]);
  });

  it('gives back printable values and line ends as they were, and makes no key of them', () => {
    const values = HOSTILE.filter((text) => text !== '' && text.length < 100 && !/[^\n\r\x20-\x7eé]/.test(text));
    expect(values.length).toBeGreaterThan(3);
    for (const value of values) {
      const { extension } = cef(redactEvent(eventOf([value]), new LearnedSecrets()));
      expect(extension.get('cs1')).toBe(value);
      expect(extension.get('src')).toBe('172.16.0.10');
    }
  });

  it('shows other control characters, and what does not fit, as in the text line', () => {
    const { extension } = cef(redactEvent(eventOf(['\x1b[2J', 'x'.repeat(6000)]), new LearnedSecrets()));
    expect(extension.get('cs1')).toMatch(/^\\x1b\[2J x+\.\.\.\[\+\d+\]$/);
  });

  it('has IPv6 addresses under the keys for them', () => {
    const { extension } = cef(named('variant 3'));
    expect(extension.get('c6a3')).toBe('fd00:ec2::254');
    expect([extension.has('src'), extension.has('dst')]).toEqual([false, false]);
  });

  it('escapes what ends a field of the header', () => {
    const odd = createEventContext({ hostName: 'h', version: '1|\\\n2' });
    expect(readCef(formatCef(named('hardened 0'), odd)).productVersion).toBe('1|\\ 2');
  });
});
