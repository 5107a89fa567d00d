import { ENDPOINT, type Field } from './field.js';
import { cpuSeconds, endedChildrenCpuSeconds } from './proc.js';
import type { Row } from './rows.js';
import { losses, startTraced } from './traced.js';

const URL = `http://${ENDPOINT}/latest/meta-data/instance-id`;

/** What a request costs the tracer when one curl after another asks, against what curl (and the service) take themselves. */
export async function moderatePace(field: Field, rounds: number, requests: number): Promise<Row[]> {
  const tracer: number[] = [];
  const traffic: number[] = [];
  const lost: string[] = [];
  for (let round = 0; round < rounds; round++) {
    const traced = await startTraced();
    const others = (): number => endedChildrenCpuSeconds() + cpuSeconds(field.servicePid);
    const before = { tracer: cpuSeconds(traced.pid), others: others() };
    await field.inClient([
      'sh',
      '-c',
      `n=0; while [ $n -lt ${requests} ]; do curl -sSo /dev/null "${URL}?n=$n"; n=$((n+1)); done`,
    ]);
    traffic.push(((others() - before.others) * 1e6) / requests);
    await traced.settled();
    tracer.push(((cpuSeconds(traced.pid) - before.tracer) * 1e6) / requests);
    lost.push(...losses(await traced.stop(), requests));
  }
  return [
    {
      name: 'CPU a request, curl after curl',
      unit: 'us',
      tracer,
      yardstick: 'curl and server',
      against: traffic,
      ...(lost.length === 0 ? {} : { note: `lost: ${lost.join(', ')}` }),
    },
  ];
}
