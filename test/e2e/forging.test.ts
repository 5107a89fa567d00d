import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { childrenOf } from './support/child.js';
import { describeOnKernel, testWith } from './support/kernel.js';
import { JsonLines } from './support/lines.js';
import { type Action, requestText, sendRaw } from './support/raw.js';
import { clientScript, compileClient, observe, openScene, pythonPath, type Scene } from './support/scene.js';
import { type EcsEvent, isRequest, MAIN, type Tracer } from './support/tracer.js';
import { until } from './support/wait.js';

const ADDRESS = '100.100.100.200';
const ID = '/latest/meta-data/instance-id';

const FAKE_LINE =
  '[2026-01-01T00:00:00.000+00:00] [WARNING] IMDSv1(!) (pid:1:systemd argv:/sbin/init) called by -> (pid:?) ' +
  'Req details: GET / HTTP/1.1, Host: x, User-Agent: y | verdict:normal_mode status:200 severity:low unit:- via:connect';
const FAKE_EVENT = '{"event":{"action":"imds-request"},"imds":{"verdict":"normal_mode"},"log":{"level":"WARNING"}}';

/** What an argument, a name, or (where HTTP allows it) a header or a path may try. */
const FORGERIES: Readonly<Record<string, string>> = {
  'a line of the log': `\n${FAKE_LINE}\n`,
  'a line after a carriage return': `\r${FAKE_LINE}\r\n`,
  'a line after a Unicode line separator': `\u2028${FAKE_LINE}\u2029${FAKE_LINE}\x85${FAKE_LINE}`,
  'an event': `\n${FAKE_EVENT}\n`,
  'the end of a JSON text': `"}}\n${FAKE_EVENT}`,
  'a verdict': ' | verdict:hardened status:200 severity:low unit:- via:connect',
  'a level': '[WARNING] WARNING IMDSv1(!)',
  ancestors: ') called by -> (pid:1:systemd argv:/sbin/init) -> (pid:1:systemd argv:/sbin/init',
  'request details': ' Req details: GET /fine HTTP/1.1, Host: x, User-Agent: y | verdict:hardened',
  'terminal escapes': '\x1b[2J\x1b[1;1H\x1b]0;title\x07\x1b[31mred\x9b2J\x90q\x9c',
  'backspaces over the line': `${'\b'.repeat(200)}[2026-01-01T00:00:00.000+00:00] [INFO] fine`,
  'text that runs backwards': '\u202egnp.exe\u2066\u2069\u200f',
  'quotes and backslashes': `"'\\\`$(id)\\n\\x1b\\u000a`,
};

const LINE = /^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d\] \[(INFO|NOTICE|WARNING|ERROR)\] /;
/** Control and format characters, and what separates lines. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

/** What `grep` takes for a line that counts. */
const grep = (text: string, word: string): string[] => text.split('\n').filter((line) => line.includes(word));

describeOnKernel('what clients choose to be called and to send', () => {
  let scene: Scene;
  let tracer: Tracer;
  let python: string;

  /** Every line of both files is an event's, has its level, and shows nothing raw. */
  function expectUnforged(events: readonly EcsEvent[], text: string): void {
    expect(text.endsWith('\n')).toBe(true);
    const lines = text.slice(0, -1).split('\n');
    expect(lines).toHaveLength(events.length);
    for (const [i, line] of lines.entries()) {
      const event = events[i]!;
      expect(LINE.exec(line)?.[1]).toBe(event.log.level);
      expect(line.slice(LINE.exec(line)![0].length)).toBe(event.message);
      expect(UNPRINTABLE.test(line)).toBe(false);
      const count = (mark: string) => line.split(mark).length - 1;
      if (event.event.action !== 'imds-request') continue;
      expect(count('verdict:')).toBe(1);
      expect(line).toContain(` | verdict:${event.imds!.verdict} `);
      expect(count('Req details:')).toBe(1);
      expect(count('called by ->')).toBe(1);
      expect(count('(pid:')).toBe(1 + Math.max(1, event.imds!.ancestors?.length ?? 0));
    }
    const warnings = events.filter(({ imds }) => imds?.verdict === 'normal_mode');
    expect(grep(text, 'WARNING')).toHaveLength(warnings.length);
    expect(grep(text, 'IMDSv1(!)')).toHaveLength(warnings.length);
  }

  beforeAll(async () => {
    scene = await openScene();
    tracer = await scene.startTracer();
    python = await pythonPath();
  });
  afterAll(() => scene?.close());

  test.each(Object.entries(FORGERIES))('arguments with %s forge nothing', async (_, forgery) => {
    // Of the client, and of its parent.
    const argv = [python, clientScript('raw.py'), forgery, `--flag=${forgery}`];
    const text = requestText(ID, ['X-aliyun-ecs-metadata-token: never-issued']);
    const plan = {
      address: ADDRESS,
      connections: [
        [
          ['send', text],
          ['answers', 1],
        ],
      ],
    };
    const shell = ['sh', '-c', '"$@"; exit $?', `parent ${forgery}`, ...argv];
    const { events } = await observe(scene, tracer, 1, () => scene.runOk(shell, { input: JSON.stringify(plan) }));
    // The exact value is in the event, and it is a request with a token.
    expect(events).toHaveLength(1);
    expect(events[0]!.imds!.verdict).toBe('token_invalid');
    expect(events[0]!.process!.args).toEqual(argv);
    // Of the parent's the kernel keeps 512 bytes from its exec on, for when there is no time to look into /proc; 1,024 are shown.
    const shown = events[0]!.process!.parent!.args!.join('\0').replace(/\.\.\.\[\+\d+( arguments)?\](\0.*)?$/s, '');
    expect(shell.join('\0').startsWith(shown)).toBe(true);
    expect(Buffer.byteLength(shown)).toBeGreaterThan(Math.min(500, Buffer.byteLength(shell.join('\0')) - 1));
  });

  test.each(Object.entries(FORGERIES).filter(([, text]) => !/[\r\n]/.test(text)))(
    'a path, a User-Agent and a Host with %s forge nothing',
    async (_, forgery) => {
      const wire = Buffer.from(forgery).toString('latin1');
      const headers = ['X-aliyun-ecs-metadata-token: never-issued', 'Connection: close'];
      const texts = [
        requestText(`${ID}/${wire.replaceAll(' ', '+')}`, headers),
        requestText(ID, [`User-Agent: ${wire}`, ...headers]),
        requestText(ID, headers).replace(`Host: ${ADDRESS}`, `Host: ${wire}`),
      ];
      const connections = texts.map((text): Action[] => [['send', text], ['end']]);
      const { journal, events } = await observe(scene, tracer, 3, () =>
        sendRaw(scene, python, { address: ADDRESS, connections }),
      );
      expect(events).toHaveLength(journal.length);
      for (const { imds } of events) expect(['token_invalid', 'unparsed']).toContain(imds!.verdict);
    },
  );

  test('arguments that are no UTF-8 are shown as such, and as one line', async () => {
    const shell = ['sh', '-c', 'exec "$@" "$(printf "a\\377\\303\\355\\240\\200\\033z")"', 'sh'];
    const curl = ['curl', '-s', `http://${ADDRESS}${ID}`, '-o', '/dev/null', '-A'];
    const { events } = await observe(scene, tracer, 1, () => scene.runOk([...shell, ...curl]));
    const odd = 'a\\xff\\xc3\\xed\\xa0\\x80\x1bz';
    expect(events[0]!.process!.args).toEqual([...curl, odd]);
    expect(events[0]!.user_agent!.original).toBe(odd);
    expect(events[0]!.message).toContain(odd.replace('\x1b', '\\x1b'));
  });

  testWith(['cc'], "a program's own name forges nothing", async () => {
    const program = await compileClient(scene, 'mass.c');
    const names = ['\n[x] [WARNING]', '\x1b[31mWARNING', ') argv:WARNING', 'é\u202eWARNING', '"}\n{"a":"b'];
    for (const name of names) {
      const copy = join(scene.folder, name.replaceAll('/', ''));
      copyFileSync(program, copy);
      const { events } = await observe(scene, tracer, 1, () => scene.runOk([copy, 'once', ADDRESS, '80', 'x']));
      expect(events[0]!.process).toMatchObject({ executable: copy, args: [copy, 'once', ADDRESS, '80', 'x'] });
      expect(copy.slice(scene.folder.length + 1).startsWith(events[0]!.process!.name.replace(/\\x..$/, ''))).toBe(true);
    }
  });

  test('one line an event, one event a line, and a search for WARNING finds the requests without a token', async () => {
    // Some that are without a token, so that there is something to find.
    await observe(scene, tracer, 2, () =>
      scene.runOk([
        'curl',
        '-s',
        `http://${ADDRESS}${ID}`,
        '--next',
        '-s',
        '-A',
        FORGERIES['a level']!,
        `http://${ADDRESS}${ID}`,
      ]),
    );
    await tracer.stop();
    expectUnforged(tracer.events(), tracer.text());
    expectUnforged(tracer.events(), tracer.stdout());
    const journaled = scene
      .journal()
      .filter(
        (entry) => entry.kind === 'request' && !entry.headers.some(([name]) => name === 'X-aliyun-ecs-metadata-token'),
      );
    expect(tracer.requests().filter(({ log }) => log.level === 'WARNING')).toHaveLength(journaled.length);
  });

  test('in a terminal nothing arrives but colours, the status line and printable text; Ctrl-C ends it', async () => {
    const logDir = join(scene.folder, 'log-pty');
    const inTerminal = ['-c', 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)'];
    const { NO_COLOR: _, ...environment } = process.env;
    const child = spawn(python, [...inTerminal, process.execPath, MAIN, 'trace', '--log-dir', logDir], {
      env: { ...environment, TERM: 'xterm' },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    scene.cleanup.defer('end the tracer and its terminal', () => {
      if (child.exitCode !== null) return;
      for (const pid of [...childrenOf(child.pid!), child.pid!]) process.kill(pid, 'SIGKILL');
    });
    const exit = once(child, 'close');
    let shown = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text;
    });
    const reader = new JsonLines<EcsEvent>();
    const written = () => reader.read(join(logDir, 'imds-events.ndjson'));
    await until('the start', () => written().length > 0);
    const text = requestText(`${ID}?\x1b[2J\x9b`, ['User-Agent: \x1b]0;t\x07', 'Connection: close']);
    const plan = { address: ADDRESS, connections: [[['send', text] as const, ['end'] as const]] };
    await scene.runOk([python, clientScript('raw.py'), ...Object.values(FORGERIES)], { input: JSON.stringify(plan) });
    await until('the event and the status line', () => written().some(isRequest) && / requests: /.test(shown));
    child.stdin.write('\x03');
    expect(await exit).toEqual([0, null]);

    expect(shown).toContain('\x1b['); // it was a terminal
    const plain = shown
      .replaceAll('\r\x1b[K', '')
      .replace(/\x1b\[\d{1,2}m/g, '')
      .replaceAll('\r\n', '\n')
      .replace('^C', '');
    for (const line of plain.split('\n')) expect(UNPRINTABLE.test(line), JSON.stringify(line)).toBe(false);
    for (const { message } of written()) expect(plain).toContain(`] ${message}\n`);
    expect(grep(plain, 'WARNING')).toHaveLength(written().filter(({ log }) => log.level === 'WARNING').length);
  });
});
