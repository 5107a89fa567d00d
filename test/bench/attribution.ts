import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ENDPOINT, type Field } from './field.js';
import type { Row } from './rows.js';
import { startTraced } from './traced.js';

const URL = `http://${ENDPOINT}/latest/meta-data/`;

/** One kind of client: a shell command that makes one request, and the name of the process that connects. */
interface Client {
  name: string;
  process: string;
  command: string;
  /** Between the end of one and the start of the next, in seconds. */
  pause: number;
}

const PYTHON = (script: string): string => `"$(python3 -c 'import sys; print(sys.executable)')" -c '${script}'`;

const CLIENTS: readonly Client[] = [
  { name: 'curl, paced', process: 'curl', command: `curl -s -o /dev/null ${URL}`, pause: 0.05 },
  { name: 'curl, back to back', process: 'curl', command: `curl -s -o /dev/null ${URL}`, pause: 0 },
  {
    name: 'bash /dev/tcp',
    process: 'bash',
    command: `bash -c 'exec 3<>/dev/tcp/${ENDPOINT}/80; printf "GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" >&3; read -r line <&3'`,
    pause: 0,
  },
  {
    name: 'python urllib',
    process: 'python3',
    command: PYTHON(`import urllib.request as u; u.urlopen("${URL}").read()`),
    pause: 0,
  },
  {
    name: 'python, 0.3 s',
    process: 'python3',
    command: PYTHON(
      `import socket, time; s = socket.create_connection(("${ENDPOINT}", 80)); time.sleep(0.15); ` +
        's.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"); s.recv(65536); time.sleep(0.15)',
    ),
    pause: 0,
  },
];

/** Of the requests of short-lived clients, how many get their process on the libpcap source. */
export async function attribution(field: Field, rounds: number, requests: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const client of CLIENTS) {
    const named: number[] = [];
    const reasons = new Map<string, number>();
    for (let round = 0; round < rounds; round++) {
      const { right, others } = await measure(field, client, requests);
      named.push(right);
      for (const reason of others) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    }
    const note = [...reasons].map(([reason, count]) => `${count} ${reason}`).join(', ');
    rows.push({
      name: `named on libpcap: ${client.name}`,
      unit: 'requests',
      tracer: named,
      yardstick: 'sent',
      against: named.map(() => requests),
      ...(note !== '' && { note }),
    });
  }
  return rows;
}

interface Line {
  event: { action: string };
  process?: { name: string };
  imds: { attribution: string; attribution_detail?: string };
}

async function measure(
  field: Field,
  { process, command, pause }: Client,
  requests: number,
): Promise<{ right: number; others: string[] }> {
  const traced = await startTraced({ args: ['--source', 'pcap'], wrap: field.among });
  // A line of the script is a process of its own, as a client of a script is.
  const script = `i=0; while [ $i -lt ${requests} ]; do ${command}; ${pause > 0 ? `sleep ${pause};` : ''} i=$((i+1)); done`;
  await field.inClient(['sh', '-c', script]);
  await traced.settled();
  const lines = readFileSync(join(dirname(traced.log), 'imds-events.ndjson'), 'utf8')
    .trim()
    .split('\n');
  await traced.stop();
  const events = lines.map((line) => JSON.parse(line) as Line).filter(({ event }) => event.action === 'imds-request');
  if (events.length !== requests) throw new Error(`${events.length} lines for ${requests} requests of ${command}`);
  const isRight = (line: Line): boolean => line.process?.name.startsWith(process) ?? false;
  const others = events
    .filter((line) => !isRight(line))
    .map(({ process: wrong, imds }) => (wrong ? `named ${wrong.name}` : `${imds.attribution_detail}`));
  return { right: events.filter(isRight).length, others };
}
