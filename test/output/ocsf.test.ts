import { describe, expect, it } from 'vitest';
import { createEventContext } from '../../src/output/context.js';
import { formatEcs } from '../../src/output/ecs.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { formatOcsf } from '../../src/output/ocsf.js';
import { redactEvent, type ShownEvent } from '../../src/output/redact.js';
import { formatText } from '../../src/output/text.js';
import { requestEvent } from './events.js';
import { EVERY_EVENT, HOSTILE_EVENTS } from './every-event.js';
import { ocsfProblems } from './ocsf-validate.js';

const context = createEventContext({ hostName: 'web-1', hostId: 'abc', version: '0.1.0' });
// biome-ignore lint/suspicious/noExplicitAny: what a reader of the JSON has
const ocsf = (event: ShownEvent): any => JSON.parse(JSON.stringify(formatOcsf(event, context)));
const named = (name: string): ShownEvent => EVERY_EVENT.find(([found]) => found === name)![1];

describe('an event as OCSF', () => {
  it.each([...EVERY_EVENT, ...HOSTILE_EVENTS])('is what the schema demands: %s', (_, event) => {
    expect(ocsfProblems(ocsf(event))).toEqual([]);
  });

  it('finds an event wrong that is', () => {
    const event = ocsf(named('normal_mode 0'));
    const wrong = {
      ...event,
      time: String(event.time),
      severity: 'Fine',
      activity_id: 12,
      metadata: { ...event.metadata, profiles: ['host', 'security_control'] },
      dst_endpoint: { port: 80 },
      http_response: { latency: 1.5 },
      note: 1,
    };
    expect(ocsfProblems(wrong).sort()).toEqual([
      'HTTP Activity.cloud is no attribute',
      'HTTP Activity.dst_endpoint has none of ip, uid, name, hostname, svc_name, instance_uid, interface_uid, interface_name, domain',
      'HTTP Activity.http_response.code is missing',
      'HTTP Activity.http_response.latency is no integer: 1.5',
      'HTTP Activity.note is no attribute',
      'HTTP Activity.severity_id 2 means Low, not Fine',
      'HTTP Activity.time is no timestamp: "1795230238120"',
      'activity_id 12 is none of HTTP Activity',
      'activity_name is Get, not undefined',
      'type_uid is 400203, not 400212',
    ]);
  });

  it('has request, process and response under the names of the schema', () => {
    const event = redactEvent(requestEvent(), new LearnedSecrets());
    expect(ocsf(event)).toMatchObject({
      time: Date.parse('2026-11-21T03:03:58.120Z'),
      type_uid: 400_203,
      message: formatText(event).message,
      metadata: { version: '1.8.0', uid: context.idOf(event), event_code: 'imds-request', log_level: 'WARNING' },
      device: { hostname: 'web-1', uid: 'abc' },
      cloud: { provider: 'alibaba' },
      actor: {
        process: {
          pid: 1016,
          name: 'curl',
          cmd_line: 'curl http://100.100.100.200/latest/meta-data/',
          file: { name: 'curl', path: '/usr/bin/curl' },
          parent_process: { pid: 1015, cmd_line: '/bin/bash ./makeCalls.sh' },
          ancestry: [{ pid: 1015 }, { pid: 978, cmd_line: '-zsh' }],
        },
        user: { uid: '0', name: 'root' },
        app_name: 'ssh.service',
      },
      src_endpoint: { ip: '172.16.0.10', port: 41_234 },
      dst_endpoint: { ip: '100.100.100.200', port: 80 },
      http_request: { url: { url_string: 'http://100.100.100.200/latest/meta-data/', path: '/latest/meta-data/' } },
      http_response: { code: 200, latency: 2 },
      unmapped: { imds: { verdict: 'normal_mode', attribution: 'connect', socket_cookie: '20491', latency_ms: 1.5 } },
    });
  });

  it.each([
    ['normal_mode 0', 400_203, 2, 1, 3, 15, true],
    ['normal_mode 1', 400_203, 2, 2, 2, 2, true],
    ['normal_mode 2', 400_203, 5, 1, 3, 15, true],
    ['normal_mode 4', 400_203, 3, 0, 3, 15, true],
    ['normal_mode 5', 400_299, 2, 2, 3, 15, true],
    ['hardened 0', 400_203, 1, 1, 1, 1, false],
    ['hardened 2', 400_203, 1, 0, 3, 17, false],
    ['token_issue 0', 400_207, 1, 1, 1, 8, false],
    ['token_refused 0', 400_207, 2, 2, 2, 25, false],
    ['token_invalid 0', 400_203, 2, 2, 2, 26, false],
    ['foreign_probe 0', 400_203, 1, 0, 3, 17, false],
    ['unparsed', 400_106, 3, 0, 3, 17, false],
  ])('%s: type %d, severity %d, status %d, action %d, disposition %d', (name, type, severity, status, ...control) => {
    const event = ocsf(named(name));
    expect([event.type_uid, event.severity_id, event.status_id]).toEqual([type, severity, status]);
    expect([event.action_id, event.disposition_id, event.is_alert]).toEqual(control);
  });

  it.each([
    ['tracer-started', 600_203, 1],
    ['tracer-reloaded', 600_299, 1],
    ['tracer-stopped', 600_204, 1],
    ['tracer-stats', 99, 1],
    ['capture-loss', 600_801, 3],
  ])('%s: type %d, severity %d', (name, type, severity) => {
    const event = ocsf(named(name));
    expect([event.type_uid, event.severity_id, event.metadata.event_code]).toEqual([type, severity, name]);
  });

  it('names the technique of a credential path without a token, and of nothing else', () => {
    const techniques = EVERY_EVENT.flatMap(([name, event]) =>
      (ocsf(event).attacks ?? []).map((attack: { sub_technique: { uid: string } }) => [name, attack.sub_technique.uid]),
    );
    expect(techniques).toEqual([['normal_mode 2', 'T1552.005']]);
  });

  it('has no header but Host and User-Agent, and no secret', () => {
    for (const [, event] of EVERY_EVENT) {
      const json = JSON.stringify(formatOcsf(event, context));
      expect(json).not.toMatch(/c2VjcmV0|http_headers|10\.0\.0\.1/);
    }
  });

  it('has the id that the event has in other schemas', () => {
    const event = named('hardened 0');
    const { event: of } = JSON.parse(JSON.stringify(formatEcs(event, context)));
    expect(ocsf(event).metadata.uid).toBe(of.id);
  });

  it('stays bounded, whatever is in the event', () => {
    for (const [, event] of HOSTILE_EVENTS)
      expect(JSON.stringify(formatOcsf(event, context)).length).toBeLessThan(600_000);
  });
});
