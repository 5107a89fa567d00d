import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JournalEntry } from '../../src/lab/journal.js';
import { describeWithOrWithoutBtf } from './support/kernel.js';
import { type Expectation, expectExactlyTheJournal } from './support/match.js';
import { verdictOf } from './support/oracle.js';
import { type Action, type RawPlan, requestText, sendRaw } from './support/raw.js';
import { askForToken, type Observed, observe, openScene, pythonPath, type Scene } from './support/scene.js';
import { statsOf, type Tracer } from './support/tracer.js';

const ADDRESS = '100.100.100.200';
const ID = '/latest/meta-data/instance-id';
const TOKEN_HEADER = 'X-aliyun-ecs-metadata-token';
const TTL = `${TOKEN_HEADER}-ttl-seconds: 300`;

/** Has the shape of a token, and was never issued: an answer is 401. */
const NO_TOKEN = 'bm90LWlzc3VlZC1ieS1hbnlvbmU';

/** What is known of an entry from what the service received. A token in a URL is no less a secret than one in a header. */
const expectationOf = (entry: JournalEntry): Expectation => ({
  ...verdictOf(entry),
  ...(entry.kind === 'request' &&
    entry.target.includes(NO_TOKEN) && { target: entry.target.replace(NO_TOKEN, '[redacted]') }),
});

describeWithOrWithoutBtf('requests as they come over the wire', () => {
  let scene: Scene;
  let tracer: Tracer;
  let python: string;
  let token: string;

  /** Lets raw.py follow the plan; each of its `count` requests must be one event of its process with the right verdict. */
  async function exactly(
    count: number,
    plan: Omit<RawPlan, 'address'> & { address?: string },
    more: Partial<Expectation> = {},
  ): Promise<Observed<{ pid: number; ports: number[] }>> {
    const observed = await observe(scene, tracer, count, () => sendRaw(scene, python, { address: ADDRESS, ...plan }));
    expect(observed.journal).toHaveLength(count);
    expectExactlyTheJournal(observed.events, observed.journal, (entry) => ({
      ...expectationOf(entry),
      pid: observed.result.pid,
      attribution: 'connect',
      ...more,
    }));
    return observed;
  }
  const verdictsOf = ({ events }: Pick<Observed<unknown>, 'events'>) => events.map(({ imds }) => imds!.verdict);
  /** One request a connection. */
  const each = (requests: readonly string[]): Action[][] =>
    requests.map((text) => [
      ['send', text],
      ['answers', 1],
    ]);

  beforeAll(async () => {
    scene = await openScene({ providers: ['alibaba', 'aws'] });
    tracer = await scene.startTracer();
    python = await pythonPath();
    const ask = () => scene.runOk(askForToken(`http://${ADDRESS}`, 300));
    token = (await observe(scene, tracer, 1, ask)).result.stdout;
  });
  afterAll(() => scene?.close());

  describe('however the head is cut', () => {
    const cases: [string, () => string][] = [
      ['with a token', () => requestText(ID, [`${TOKEN_HEADER}: ${token}`])],
      ['without a token', () => requestText(ID, ['Accept: */*'])],
    ];

    test.each(cases)('%s: in two packets, at every byte', async (_, request) => {
      const text = request();
      const connections = Array.from({ length: text.length - 1 }, (_, i): Action[] => [
        ['send', text.slice(0, i + 1)],
        ['send', text.slice(i + 1)],
        ['answers', 1],
      ]);
      await exactly(text.length - 1, { connections });
    });

    test.each(cases)('%s: a byte a packet', async (_, request) => {
      const bytes = [...request()].map((byte): Action => ['send', byte]);
      await exactly(1, { connections: [[...bytes, ['answers', 1]]] });
    });

    test.each(cases)('%s: in two and in many buffers of one sendmsg', async (_, request) => {
      const text = request();
      const halves = [text.slice(0, 60), text.slice(60)];
      const connections: Action[][] = [halves, [...text], ['', text, '']].map((buffers) => [
        ['sendmsg', buffers],
        ['answers', 1],
      ]);
      await exactly(3, { connections });
    });
  });

  describe('several on one connection', () => {
    const three = () => [
      requestText(ID),
      requestText(ID, [`${TOKEN_HEADER}: ${token}`]),
      requestText('/latest/user-data'),
    ];
    const verdicts = ['normal_mode', 'hardened', 'normal_mode'];

    test('three in one packet', async () => {
      const observed = await exactly(3, {
        connections: [
          [
            ['send', three().join('')],
            ['answers', 3],
          ],
        ],
      });
      expect(verdictsOf(observed)).toEqual(verdicts);
    });

    test('one after the other (keep-alive)', async () => {
      const actions = three().flatMap((text): Action[] => [
        ['send', text],
        ['answers', 1],
      ]);
      expect(verdictsOf(await exactly(3, { connections: [actions] }))).toEqual(verdicts);
    });

    test('pipelined, cut where none of them ends', async () => {
      const text = three().join('');
      const cuts = [0, 50, 51, 130, 200, text.length];
      const sends = cuts.slice(1).map((end, i): Action => ['send', text.slice(cuts[i]!, end)]);
      expect(verdictsOf(await exactly(3, { connections: [[...sends, ['answers', 3]]] }))).toEqual(verdicts);
    });

    test('100 pipelined in one send', async () => {
      const text = Array.from({ length: 100 }, (_, i) =>
        requestText(`${ID}?n=${i}`, i % 3 ? [] : [`${TOKEN_HEADER}: ${token}`]),
      );
      const observed = await exactly(100, {
        connections: [
          [
            ['send', text.join('')],
            ['answers', 100],
          ],
        ],
      });
      expect(observed.events.map(({ url }) => url!.query)).toEqual(text.map((_, i) => `n=${i}`));
    });

    test('HTTP/1.0, and HTTP/1.1 that closes', async () => {
      await exactly(2, {
        connections: [
          [['send', `GET ${ID} HTTP/1.0\r\n\r\n`], ['end']],
          [['send', requestText(ID, ['Connection: close'])], ['end']],
        ],
      });
    });
  });

  describe('bodies that look like requests', () => {
    const inside = requestText('/latest/user-data').repeat(3);
    const after = requestText(`${ID}?after`);

    test('with Content-Length', async () => {
      const text = requestText(ID, [`Content-Length: ${inside.length}`], 'POST', inside);
      await exactly(4, {
        connections: [
          [
            ['send', text + after],
            ['answers', 2],
          ],
          [
            ['send', text.slice(0, -40)],
            ['send', text.slice(-40) + after],
            ['answers', 2],
          ],
        ],
      });
    });

    test('chunked, with extensions and trailers that look like token headers', async () => {
      const size = inside.length.toString(16);
      const body = `${size};${TOKEN_HEADER}=${token}\r\n${inside}\r\n0\r\n${TOKEN_HEADER}: ${token}\r\n\r\n`;
      const text = requestText(ID, ['Transfer-Encoding: chunked'], 'POST', body);
      const observed = await exactly(4, {
        connections: [
          [
            ['send', text + after],
            ['answers', 2],
          ],
          [...Array.from(text + after, (byte): Action => ['send', byte]), ['answers', 2]],
        ],
      });
      expect(verdictsOf(observed)).toEqual(Array(4).fill('normal_mode'));
    });

    test('64 KiB in one send, and twice as much', async () => {
      const connections = [64 * 1024, 128 * 1024].map((length): Action[] => {
        const body = inside.repeat(Math.ceil(length / inside.length)).slice(0, length);
        const text = requestText(ID, [`Content-Length: ${length}`], 'POST', body);
        return [
          ['send', text + after],
          ['answers', 2],
        ];
      });
      await exactly(4, { connections });
    });
  });

  describe('what is no token', () => {
    test.each<[string, string]>([
      ['in the path', requestText(`${ID}/${TOKEN_HEADER}: ${NO_TOKEN}`.replace(' ', ''))],
      ['in the query', requestText(`${ID}?${TOKEN_HEADER}=${NO_TOKEN}`)],
      ['in the query, with what would end a line', requestText(`${ID}?a=%0d%0a${TOKEN_HEADER}:${NO_TOKEN}`)],
      ['in the User-Agent', requestText(ID, [`User-Agent: ${TOKEN_HEADER}: ${NO_TOKEN}`])],
      ['in another header', requestText(ID, [`X-Note: ${TOKEN_HEADER}: ${NO_TOKEN}`])],
      ['as the beginning of another name (the TTL header)', requestText(ID, [TTL])],
      ['as the end of another name', requestText(ID, [`Not-${TOKEN_HEADER}: ${NO_TOKEN}`])],
      ['in a body', requestText(ID, ['Content-Length: 64'], 'GET', `${TOKEN_HEADER}: ${NO_TOKEN}`.padEnd(64))],
      ['without a value', requestText(ID, [`${TOKEN_HEADER}:`])],
      ['with blanks for a value', requestText(ID, [`${TOKEN_HEADER}: \t `])],
      ["another provider's", requestText(ID, [`X-aws-ec2-metadata-token: ${NO_TOKEN}`])],
    ])("the header's name %s", async (_, text) => {
      expect(verdictsOf(await exactly(1, { connections: each([text]) }))).toEqual(['normal_mode']);
    });
  });

  describe('what is a token', () => {
    test('the name in any case, with any white space around the value', async () => {
      const headers = [
        `${TOKEN_HEADER.toLowerCase()}: ${token}`,
        `${TOKEN_HEADER.toUpperCase()}:${token}`,
        `${TOKEN_HEADER}:\t  ${token}  \t`,
      ];
      const observed = await exactly(3, { connections: each(headers.map((header) => requestText(ID, [header]))) });
      expect(verdictsOf(observed)).toEqual(Array(3).fill('hardened'));
    });

    test('with and without padding, valid or not', async () => {
      const granted: string[] = [];
      for (let i = 0; i < 3; i += 1) {
        const ask = () => scene.runOk(askForToken(`http://${ADDRESS}`, 300));
        granted.push((await observe(scene, tracer, 1, ask)).result.stdout);
      }
      // The service issues tokens that end in `==`, in `=`, and in neither, in turn.
      expect(new Set(granted.map((text) => text.replace(/[^=]/g, '').length))).toEqual(new Set([0, 1, 2]));
      const texts = [...granted, NO_TOKEN, `${NO_TOKEN}==`].map((text) =>
        requestText(ID, [`${TOKEN_HEADER}: ${text}`]),
      );
      const observed = await exactly(5, { connections: each(texts) });
      expect(verdictsOf(observed)).toEqual(['hardened', 'hardened', 'hardened', 'token_invalid', 'token_invalid']);
    });
  });

  test('bytes that are no UTF-8, in path, query and headers', async () => {
    const odd = '\xff\xfe\x80\xc3(\xed\xa0\x80';
    await exactly(4, {
      connections: each([
        requestText(`${ID}/${odd}`),
        requestText(`${ID}?${odd}=${odd}`),
        requestText(ID, [`User-Agent: ${odd}`, `X-${odd}: y`]),
        requestText(ID, [`X-Note: ${odd}`, `${TOKEN_HEADER}: ${token}`]),
      ]),
    });
  });

  test('a head of 12 KiB, the token last', async () => {
    const padding = Array.from({ length: 12 }, (_, i) => `X-Padding-${i}: ${'x'.repeat(1000)}`);
    const observed = await exactly(2, {
      connections: each([requestText(ID, [...padding, `${TOKEN_HEADER}: ${token}`]), requestText(ID, padding)]),
    });
    expect(verdictsOf(observed)).toEqual(['hardened', 'normal_mode']);
  });

  test('a TLS hello is no HTTP', async () => {
    const hello = `\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03${'\x5a'.repeat(505)}`;
    const { events } = await exactly(1, { connections: [[['send', hello], ['end']]] }, { reasons: ['non_http'] });
    expect(events[0]!.imds!.unparsed).toMatchObject({ reason: 'non_http' });
  });

  test('a head without end', async () => {
    const endless = requestText(ID, Array(80).fill(`X-Padding: ${'x'.repeat(1000)}`));
    await exactly(1, { connections: [[['send', endless], ['end']]] }, { reasons: ['head_too_large'] });
  });

  test('half a head, and the connection ends', async () => {
    const half = requestText(ID).slice(0, 40);
    const { journal, events } = await observe(scene, tracer, 1, () =>
      sendRaw(scene, python, {
        address: ADDRESS,
        connections: [
          [
            ['send', half],
            ['pause', 0.1],
          ],
        ],
      }),
    );
    expect(journal).toMatchObject([{ kind: 'unparsed', code: 'incomplete' }]);
    expectExactlyTheJournal(events, journal, () => ({ verdict: 'unparsed', level: 'ERROR' }));
  });

  describe('addresses', () => {
    test('an IPv6 socket connected to the IPv4-mapped address', async () => {
      const text = [requestText(ID), requestText(ID, [`${TOKEN_HEADER}: ${token}`])];
      const { events } = await exactly(2, { mapped: true, connections: each(text) });
      for (const { network, source, destination } of events) {
        expect(network!.type).toBe('ipv4');
        expect(source!.ip).toBe('198.18.0.1');
        expect(destination!.ip).toBe(ADDRESS);
      }
    });

    test('an IPv6 endpoint', async () => {
      const text = (headers: string[], method?: string, target = ID) =>
        requestText(target, headers, method).replace(`Host: ${ADDRESS}`, 'Host: [fd00:ec2::254]');
      const put = text(['X-aws-ec2-metadata-token-ttl-seconds: 60'], 'PUT', '/latest/api/token');
      const observed = await exactly(3, {
        address: 'fd00:ec2::254',
        connections: each([text([]), put, text([`X-aws-ec2-metadata-token: ${NO_TOKEN}`])]),
      });
      expect(verdictsOf(observed)).toEqual(['normal_mode', 'token_issue', 'token_invalid']);
      for (const { network } of observed.events) expect(network!.type).toBe('ipv6');
    });
  });

  test('the same local port, used again at once', async () => {
    const connections = Array.from({ length: 40 }, (_, i): Action[] => [
      ['send', requestText(`${ID}?n=${i}`, i % 2 ? [] : [`${TOKEN_HEADER}: ${token}`])],
      ['answers', 1],
      ['reset'],
    ]);
    // Below the ephemeral range: no connection of another test can have it.
    const { result, events } = await exactly(40, { local_port: 20_123, connections });
    expect(result.ports).toEqual(Array(40).fill(20_123));
    expect(events.map(({ url }) => url!.query)).toEqual(connections.map((_, i) => `n=${i}`));
  });

  test('the same local port, used by another process at once', async () => {
    const pids: number[] = [];
    const { journal, events } = await observe(scene, tracer, 5, async () => {
      for (let i = 0; i < 5; i += 1) {
        const connections: Action[][] = [[['send', requestText(`${ID}?n=${i}`)], ['answers', 1], ['reset']]];
        pids.push((await sendRaw(scene, python, { address: ADDRESS, local_port: 20_124, connections })).pid);
      }
    });
    // One key for all connections: they are told apart by their order.
    expect(journal).toHaveLength(5);
    expect(events.map(({ process, url }) => [process!.pid, url!.query])).toEqual(pids.map((pid, i) => [pid, `n=${i}`]));
  });

  test('nothing came late, was lost or was invented', async () => {
    expect(await tracer.stop()).toMatchObject({ status: 0 });
    expectExactlyTheJournal(tracer.requests(), scene.journal(), expectationOf);
    expect(statsOf(tracer)).toMatchObject({
      ring_dropped: 0,
      truncated: 0,
      gaps: 0,
      packets_refused: 0,
      unattributed: 0,
    });
  });
});
