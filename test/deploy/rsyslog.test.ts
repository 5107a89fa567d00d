import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEventContext } from '../../src/output/context.js';
import { FORMATTERS } from '../../src/output/formats.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { redactEvent } from '../../src/output/redact.js';
import { formatText } from '../../src/output/text.js';
import { until } from '../e2e/support/wait.js';
import { eventOf } from '../output/events.js';
import { deployed, programPath } from './support.js';

const rsyslogd = programPath('rsyslogd');
const missing = [
  rsyslogd === undefined && 'rsyslog',
  !spawnSync('find', ['/usr/lib', '-name', 'lmnsd_gtls.so'], { encoding: 'utf8' }).stdout && 'rsyslog-gnutls',
  programPath('openssl') === undefined && 'openssl',
].filter(Boolean);

const folder = mkdtempSync(join(tmpdir(), 'imds-rsyslog-'));
const tls = join(folder, 'tls');
const logs = join(folder, 'imds');
const central = join(folder, 'central');
const running: ChildProcess[] = [];

/** An authority, and a certificate of it for the name that the sender asks for. */
function makeCertificates(): void {
  mkdirSync(tls);
  const openssl = (...args: string[]): void => {
    const { status, stderr } = spawnSync('openssl', args, { cwd: tls, encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'ca-key.pem', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=authority');
  openssl('req', ...key, '-keyout', 'key.pem', '-out', 'request.pem', '-subj', '/CN=siem.example');
  writeFileSync(join(tls, 'extensions'), 'subjectAltName=DNS:siem.example\n');
  openssl(
    ...['x509', '-req', '-in', 'request.pem', '-CA', 'ca.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial'],
    ...['-out', 'cert.pem', '-days', '2', '-extfile', 'extensions'],
  );
}

/** The files as they are, but for the places, the port and the address. */
function configure(name: string, port: number): string {
  const spool = join(folder, `${name}-spool`);
  mkdirSync(spool);
  const file = join(folder, `${name}.conf`);
  writeFileSync(
    file,
    deployed(`rsyslog/${name}.conf`)
      .replaceAll('/etc/rsyslog.d/tls', tls)
      .replaceAll('/var/log/imds-central', central)
      .replaceAll('/var/log/imds/', `${logs}/`)
      .replaceAll('/var/spool/rsyslog', spool)
      .replace('target="siem.example"', 'target="127.0.0.1"')
      .replaceAll('"6514"', `"${port}"`),
  );
  return file;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

const isListening = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });

function start(config: string): void {
  running.push(spawn(rsyslogd!, ['-n', '-f', config, '-i', `${config}.pid`], { stdio: 'ignore' }));
}

/** Events as the tracer writes them, one of them longer than what rsyslog takes by default. */
function events(count: number): string[] {
  const context = createEventContext({ hostName: 'h', version: '1' });
  return Array.from({ length: count }, (_, i) => {
    const event = redactEvent(eventOf([`number-${i}`, 'line\nbreak ', '\\', 'x'.repeat(8_000)]), new LearnedSecrets());
    return FORMATTERS.ecs(event, context, formatText(event));
  });
}

describe.skipIf(missing.length > 0)(
  `the rsyslog configuration${missing.length > 0 ? ` (skipped: ${missing.join(', ')} missing)` : ''}`,
  () => {
    let configs: Record<'sender' | 'receiver', string>;
    let port: number;

    beforeAll(async () => {
      makeCertificates();
      mkdirSync(logs);
      mkdirSync(central);
      port = await freePort();
      configs = { sender: configure('sender', port), receiver: configure('receiver', port) };
    });

    afterAll(async () => {
      for (const child of running) {
        child.kill();
        if (child.exitCode === null) await once(child, 'exit');
      }
      rmSync(folder, { recursive: true });
    });

    it.each(['sender', 'receiver'] as const)('is valid: %s', (name) => {
      const { status, stderr } = spawnSync(rsyslogd!, ['-N1', '-f', configs[name]], { encoding: 'utf8' });
      expect(stderr).not.toMatch(/error|warning/i);
      expect(status).toBe(0);
    });

    it('brings every line of the log over TLS as it was, also across a rotation', async () => {
      const log = join(logs, 'imds-events.ndjson');
      const sent = events(10);
      const append = (lines: readonly string[]): void =>
        writeFileSync(log, lines.map((line) => `${line}\n`).join(''), { flag: 'a' });
      /** Whole lines: the last may still be on its way. */
      const received = (): string[] => {
        const file = join(central, `${hostname()}.ndjson`);
        return existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
      };
      const progress = (): string => `${received().length} of ${sent.length} lines`;
      append(sent.slice(0, 5));
      start(configs.receiver);
      // A sender that finds nobody tries again after a while only.
      await until('the receiver to listen', () => isListening(port));
      start(configs.sender);
      await until(progress, () => received().length >= 5);
      append(sent.slice(5, 7));
      renameSync(log, join(logs, 'imds-events.1.ndjson'));
      append(sent.slice(7));
      await until(progress, () => received().length >= sent.length);
      const numbers = (lines: readonly string[]) => lines.map((line) => /number-\d+/.exec(line)?.[0]);
      expect(numbers(received())).toEqual(numbers(sent));
      expect(received()).toEqual(sent);
    });
  },
);
