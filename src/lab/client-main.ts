import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { isProviderName, SERVICE_RULES } from './rules.js';
import { REQUEST_TIMEOUT, SAMPLES, type Step, usesAnswer } from './samples.js';

/*
 * A sample client as a process of its own, to be run inside a lab's client namespace; for what curl can't do, and for
 * machines without curl:
 *
 *   node client-main.js SAMPLE PROVIDER http://ADDRESS[:PORT]
 *
 * Prints nothing of what it is answered. Exit status 0 when each request got an answer below 400, 22 (as `curl -f`) when
 * one did not, 1 when there was no answer.
 */

interface Answer {
  status: number;
  body: string;
}

const [name = '', provider = '', origin = ''] = process.argv.slice(2);
const sample = SAMPLES.find((candidate) => candidate.name === name);
if (!sample || !isProviderName(provider) || !URL.canParse(origin)) {
  process.stderr.write('usage: client-main.js SAMPLE PROVIDER http://ADDRESS[:PORT]\n');
  process.exit(2);
}

run(sample.steps(SERVICE_RULES[provider]), new URL(origin)).then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 1;
  },
);

async function run(steps: readonly Step[], url: URL): Promise<number> {
  let refused = false;
  let answer = '';
  for (const step of steps) {
    if (refused && usesAnswer(step)) break;
    const { status, body } = await request(step, answer, url);
    refused = status >= 400;
    answer = body.trim();
  }
  return refused ? 22 : 0;
}

function request(step: Step, answer: string, url: URL): Promise<Answer> {
  const fill = (text: string) => text.replaceAll('{answer}', () => answer);
  const head = [
    `${step.method} ${fill(step.path)} HTTP/1.1`,
    `Host: ${url.host}`,
    'User-Agent: imds-lab',
    ...Object.entries(step.headers).map(([header, value]) => `${header}: ${fill(value)}`),
    'Connection: close',
    '\r\n',
  ].join('\r\n');
  return new Promise((resolve, reject) => {
    const socket = connect({ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 80), noDelay: true });
    socket.setTimeout(REQUEST_TIMEOUT * 1000, () => socket.destroy(new Error('no answer in time')));
    socket.setEncoding('latin1');
    let text = '';
    socket.on('data', (data: string) => {
      text += data;
    });
    socket.on('error', reject);
    socket.on('end', () => {
      const status = Number(/^HTTP\/1\.[01] (\d{3}) /.exec(text)?.[1]);
      if (status) resolve({ status, body: text.slice(text.indexOf('\r\n\r\n') + 4) });
      else reject(new Error('the answer is no HTTP'));
    });
    socket.on('connect', async () => {
      if (step.splitAt === undefined) {
        socket.write(head);
        return;
      }
      socket.write(head.slice(0, step.splitAt));
      await sleep(20); // so that the two pieces are two packets also to whoever watches the socket calls
      socket.write(head.slice(step.splitAt));
    });
  });
}
