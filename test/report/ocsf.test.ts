import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromEcs, type Observation } from '../../src/audit/observation.js';
import { createEventContext } from '../../src/output/context.js';
import { formatEcs } from '../../src/output/ecs.js';
import { formatOcsf } from '../../src/output/ocsf.js';
import { Gathered } from '../../src/report/gather.js';
import { asEcs } from '../../src/report/ocsf.js';
import { EVERY_EVENT } from '../output/every-event.js';

const context = () => createEventContext({ hostName: 'web-1', hostId: 'a1', version: '1' });
const logged = (fields: unknown): unknown => JSON.parse(JSON.stringify(fields));

/** Arguments as they come back out of one text. */
function joined(observation: Observation | undefined): Observation | undefined {
  if (observation?.kind !== 'request' || observation.process === undefined) return observation;
  const cut = <P extends { args?: readonly string[] }>(process: P): P =>
    process.args === undefined ? process : { ...process, args: process.args.join(' ').split(' ') };
  const { process } = observation;
  return { ...observation, process: { ...cut(process), argsJoined: true, ancestors: process.ancestors.map(cut) } };
}

describe('an event in the schema of OCSF', () => {
  it.each(EVERY_EVENT)('%s: is observed as it is in that of ECS', (_, event) => {
    const wanted = joined(fromEcs(logged(formatEcs(event, context()))));
    expect(wanted).toBeDefined();
    expect(fromEcs(asEcs(logged(formatOcsf(event, context()))))).toEqual(wanted);
  });

  it('counts in a report, which tells its runs by the same ids', () => {
    const sums = ([formatEcs, formatOcsf] as const).map((format) => {
      const run = context();
      const gathered = new Gathered();
      const reader = gathered.reader(() => true);
      for (const [, event] of EVERY_EVENT) reader.line(JSON.stringify(format(event, run)));
      return {
        ...gathered.toJSON(),
        clients: gathered.clients.toJSON().clients?.length,
        ids: gathered.hosts.coverage(),
      };
    });
    expect(sums[0]).toMatchObject({ unreadable: 0, lines: EVERY_EVENT.length });
    const idsOf = (sum: unknown) => JSON.stringify(sum).replace(/"id":"[^"]*"/g, '');
    expect(idsOf(sums[1])).toBe(idsOf(sums[0]));
  });

  it('shows no command line that was not what was run', () => {
    const run = context();
    const gathered = new Gathered();
    const reader = gathered.reader(() => true);
    for (const [, event] of EVERY_EVENT) reader.line(JSON.stringify(formatOcsf(event, run)));
    const clients = [...gathered.clients.values()];
    expect(clients.some(({ command }) => command !== null)).toBe(true);
    expect(clients.flatMap(({ examples }) => examples.texts())).toEqual([]);
  });

  it('leaves everything else as it is, and never throws', () => {
    const ecs = logged(formatEcs(EVERY_EVENT[0]![1], context()));
    expect(asEcs(ecs)).toBe(ecs);
    const names = [
      'metadata',
      'log_name',
      'event_code',
      'unmapped',
      'imds',
      'actor',
      'process',
      'ancestry',
      'time',
      'cmd_line',
    ];
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom('imds.trace', 'imds-request', 8.64e15, 1e300));
    const object = fc.dictionary(
      fc.constantFrom(...names),
      fc.oneof(value, fc.dictionary(fc.constantFrom(...names), value)),
    );
    fc.assert(
      fc.property(object, (json) => {
        fromEcs(asEcs(json));
        fromEcs(asEcs({ ...json, metadata: { log_name: 'imds.trace', event_code: 'imds-request' } }));
      }),
    );
  });
});
