import { describe, expect, it } from 'vitest';
import { Clients, isClientsJson } from '../../src/audit/clients.js';
import { HOST, nth, observation, process } from './support.js';

const json = (clients: Clients) => JSON.parse(JSON.stringify(clients)) as ReturnType<Clients['toJSON']>;
const all = (clients: Clients) => [...clients.values()];

describe('clients', () => {
  it('are requests of one program in one place, whatever its arguments and processes', () => {
    const clients = new Clients();
    for (let i = 0; i < 5; i++)
      clients.add(observation({ process: { ...nth(i), args: ['curl', `http://100.100.100.200/${i}`] } }));
    const [client, ...others] = all(clients);
    expect(others).toEqual([]);
    expect(client).toMatchObject({
      executable: '/usr/bin/curl',
      command: 'curl <- bash /opt/sync.sh',
      unit: 'sync.service',
      container_id: null,
      user: 'root',
      requests: 5,
      processes: 5,
    });
    expect(client!.examples.size).toBe(4);
    expect(client!.examples.more).toBe(1);
  });

  it.each([
    ['executable', { executable: '/opt/curl' }],
    ['script', { ancestors: [{ pid: 1, name: 'b', executable: '/bin/bash', args: ['bash', '/opt/b.sh'] }] }],
    ['unit', { unit: 'b.service' }],
    ['container', { container: { id: 'c1', runtime: 'docker' } }],
    ['user', { user: { id: 1000 } }],
  ])('differ by %s', (_, changes) => {
    const clients = new Clients();
    clients.add(observation());
    clients.add(observation({ process: process(changes) }));
    expect(clients.size).toBe(2);
  });

  it('are one whatever the session or the transient unit', () => {
    const clients = new Clients();
    for (const unit of ['session-3.scope', 'session-12.scope', 'session-c4.scope'])
      clients.add(observation({ process: process({ unit }) }));
    for (const unit of ['run-r0123456789abcdef.service', 'run-u17.service'])
      clients.add(observation({ process: process({ unit }) }));
    expect(all(clients).map(({ unit }) => unit)).toEqual(['session-*.scope', 'run-r*.service', 'run-u*.service']);
  });

  it('count answers to requests without a token by what they were', () => {
    const clients = new Clients();
    const { status: _, latencyMs: __, ...unanswered } = observation();
    clients.add(observation({ severity: 'critical' }));
    clients.add(observation({ status: 404 }));
    clients.add(observation({ status: 403, reasons: ['blocked'] }));
    clients.add(unanswered);
    const [client] = all(clients);
    expect(client!.normal).toEqual({ answered: 1, unanswered: 1, blocked: 1, failed: 1 });
    expect(client!.statuses.sorted()).toEqual([
      ['200', 1],
      ['403', 1],
      ['404', 1],
      ['none', 1],
    ]);
    expect(client!.normal_severity).toBe('critical');
  });

  it('beyond the bound are counted together, and nothing is lost from the sums', () => {
    const clients = new Clients({ limits: { clients: 10, characters: 100_000 } });
    for (let i = 0; i < 50; i++) clients.add(observation({ process: process({ unit: `u${i}.service` }) }));
    expect(clients.size).toBe(10);
    expect(clients.other).toEqual({ requests: 40, normal_mode: 40 });
  });

  it('count requests of no known process though others have taken all room for texts', () => {
    const clients = new Clients({ limits: { clients: 100, characters: 20_000 } });
    for (let i = 0; i < 500; i++) clients.add(observation({ path: `/${i}`, userAgent: `agent-${i}`, process: nth(i) }));
    for (let i = 0; i < 60; i++)
      clients.add(observation({ process: process({ unit: `${i}${'x'.repeat(120)}.service` }) }));
    const { process: _, ...unknown } = observation({ attribution: 'none' });
    clients.add(unknown);
    expect(
      all(clients)
        .find(({ command }) => command === null)
        ?.attribution.get('none'),
    ).toBe(1);
  });

  it('of one program can not keep out those of another by their paths', () => {
    const clients = new Clients({ limits: { clients: 100, characters: 20_000 } });
    for (let c = 0; c < 20; c++) {
      for (let i = 0; i < 60; i++) {
        clients.add(observation({ path: `/${'x'.repeat(200)}${i}`, process: process({ unit: `u${c}.service` }) }));
      }
    }
    expect(clients.size).toBe(20);
    const sums = all(clients).map(({ requests, paths, paths_other }) => [
      requests,
      [...paths.values()].reduce((sum, path) => sum + path.requests, 0) + paths_other,
    ]);
    expect(sums).toEqual(Array.from({ length: 20 }, () => [60, 60]));
  });

  it('take any text for a path, also names that objects have', () => {
    const clients = new Clients();
    for (const path of ['__proto__', 'constructor', '/\u001b[2J', '']) clients.add(observation({ path }));
    expect([...all(clients)[0]!.paths.keys()]).toEqual(['__proto__', 'constructor', '/\u001b[2J', '']);
  });

  it('merged are the same as if one had seen it all, also through JSON', () => {
    const whole = new Clients();
    const merged = new Clients();
    const parts = [new Clients(), new Clients()];
    const requests = Array.from({ length: 200 }, (_, i) =>
      observation({
        time: Date.parse('2026-11-22T04:00:00Z') + i * 7_000,
        verdict: i % 3 === 0 ? 'normal_mode' : i % 3 === 1 ? 'hardened' : 'token_refused',
        reasons: i % 3 === 2 ? ['ttl_out_of_range'] : [],
        ttlSeconds: i,
        path: `/latest/${i % 90}`,
        process: { ...nth(i), unit: `u${i % 7}.service` },
        host: i % 2 === 0 ? HOST : { name: 'other' },
      }),
    );
    requests.forEach((request, i) => {
      whole.add(request);
      parts[i % 2]!.add(request);
    });
    for (const part of parts) merged.merge(json(part));
    const sorted = (clients: Clients) => {
      const { clients: list, ...rest } = json(clients);
      const order = (entries: [string, unknown][]) => [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
      return {
        ...rest,
        timeline: undefined,
        clients: list
          .map(({ details: _, examples: __, paths, hosts, verdicts, user_agents, ...client }) => ({
            ...client,
            paths: order(paths),
            hosts: order(hosts.counts),
            verdicts: order(verdicts),
            user_agents,
          }))
          .sort((a, b) => (a.unit! < b.unit! ? -1 : 1)),
      };
    };
    expect(sorted(merged)).toEqual(sorted(whole));
    expect(merged.timeline.result()).toEqual(whole.timeline.result());
    expect(isClientsJson(json(whole))).toBe(true);
  });

  it('of many hosts are one, with the containers of a program together', () => {
    const fleet = new Clients({ containersTogether: true });
    for (let i = 0; i < 20; i++) {
      const id = String(i).repeat(64).slice(0, 64);
      fleet.add(
        observation({
          host: { name: `vm${i}` },
          process: process({ container: { id, runtime: 'containerd' }, unit: `cri-containerd-${id}.scope` }),
        }),
      );
    }
    expect(all(fleet)).toMatchObject([
      { container_id: null, unit: null, container_runtime: 'containerd', requests: 20 },
    ]);
    expect(all(fleet)[0]!.hosts.size).toBe(20);
  });

  it('know a process that goes on with a token that was refused from one that asks for a new one', () => {
    const keeps = new Clients();
    const renews = new Clients();
    const invalid = observation({ verdict: 'token_invalid', status: 401, reasons: ['token_expired_or_invalid'] });
    for (let i = 0; i < 3; i++) keeps.add(invalid);
    renews.add(invalid);
    renews.add(observation({ verdict: 'token_issue', method: 'PUT' }));
    renews.add(invalid);
    expect(all(keeps)[0]!.causes.get('keeps_old_token')).toBe(2);
    expect(all(renews)[0]!.causes.get('keeps_old_token')).toBeUndefined();
  });

  it.each([[null], [{}], [{ clients: 5 }], [{ clients: [{}], other: {}, timeline: {}, hosts: {} }]])(
    'are not made of %j',
    (value) => {
      expect(isClientsJson(value)).toBe(false);
    },
  );
});
