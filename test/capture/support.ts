import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CaptureRecord, CaptureSource, ConnectRecord, PacketRecord } from '../../src/capture/types.js';
import { createNetwork, type LabNetwork } from '../../src/lab/netns.js';

export const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
export const isRoot = process.getuid?.() === 0;

/** Two namespaces, and in the one of the server a service that answers each connection's first request and closes. */
export interface Scene {
  network: LabNetwork;
  /** Of the client's namespace. */
  netns: number;
  run(command: string, ...args: string[]): Promise<Finished>;
  end(): Promise<void>;
}

export interface Finished {
  pid: number;
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Closes first, so that the client never is in TIME_WAIT, where packets have no full socket any more. */
const SERVICE = `
import socket, sys, threading
def serve(connection):
    head = b''
    while b'\\r\\n\\r\\n' not in head:
        part = connection.recv(65536)
        if not part: break
        head += part
    connection.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\nConnection: close\\r\\n\\r\\nok\\n')
    connection.close()
def accept(listener):
    while True: threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
port = int(sys.argv[1])
for address in sys.argv[2:]:
    listener = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port)); listener.listen(512)
    threading.Thread(target=accept, args=(listener,)).start()
print('ready', flush=True)
`;

export async function openScene(port: number, addresses: readonly string[]): Promise<Scene> {
  const network = await createNetwork(addresses);
  const server = spawn(
    'ip',
    ['netns', 'exec', network.server, '/usr/bin/python3', '-c', SERVICE, String(port), ...addresses],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = once(server, 'exit');
  const ready = await Promise.race([once(server.stdout!, 'data'), exited]);
  if (!Buffer.isBuffer(ready[0])) throw new Error('the test service did not start');
  return {
    network,
    netns: statSync(`/var/run/netns/${network.client}`).ino,
    run: (command, ...args) => finish(spawn('ip', ['netns', 'exec', network.client, command, ...args])),
    end: async () => {
      server.kill('SIGKILL');
      await exited;
      await network.remove();
    },
  };
}

/** `ip netns exec` becomes the command, so the child's pid is the command's. */
export async function finish(child: ChildProcess): Promise<Finished> {
  const read = async (stream: NodeJS.ReadableStream | null) => {
    let text = '';
    if (stream) for await (const part of stream) text += part;
    return text;
  };
  const [stdout, stderr, [status]] = await Promise.all([read(child.stdout), read(child.stderr), once(child, 'close')]);
  return { pid: child.pid!, status, stdout, stderr };
}

/** A copy that outlives the batch. */
export function keep<T extends CaptureRecord>(record: T): T {
  if (record.type !== 'packet') return copyBuffers(record) as T;
  // A packet's bytes are a view that is made when asked for.
  const { batch: _, ...fields } = record;
  return { ...fields, data: Buffer.from(record.data) } as CaptureRecord as T;
}

function copyBuffers(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(copyBuffers);
  if (typeof value !== 'object' || value === null) return value;
  const names = new Set(Object.keys(value));
  // What is read when asked for is not the object's own.
  const { constructor: _, ...getters } = Object.getOwnPropertyDescriptors(Object.getPrototypeOf(value) as object);
  for (const [name, { get }] of Object.entries(getters)) if (get !== undefined && name !== '__proto__') names.add(name);
  return Object.fromEntries([...names].map((name) => [name, copyBuffers((value as Record<string, unknown>)[name])]));
}

/** Reads until nothing has come for `quietMs`. */
export async function readAll(source: CaptureSource, quietMs = 300): Promise<CaptureRecord[]> {
  const records: CaptureRecord[] = [];
  while ((await source.next(quietMs, (record) => records.push(keep(record)))) > 0);
  return records;
}

export const connectsOf = (records: readonly CaptureRecord[], pid: number): ConnectRecord[] =>
  records.filter((record): record is ConnectRecord => record.type === 'connect' && record.process.pid === pid);

export const packetsOf = (records: readonly CaptureRecord[], cookie: bigint): PacketRecord[] =>
  records.filter((record): record is PacketRecord => record.type === 'packet' && record.cookie === cookie);

/** TCP payload of a direction, by sequence number (a segment may come twice). Header lengths from the packets themselves. */
export function payload(packets: readonly PacketRecord[], direction: PacketRecord['direction']): string {
  const segments = packets
    .filter((packet) => packet.direction === direction)
    .map(({ data }) => {
      const tcp = data.subarray(data[0]! >> 4 === 4 ? (data[0]! & 15) * 4 : 40);
      return { sequence: tcp.readUInt32BE(4), syn: (tcp[13]! & 2) !== 0, bytes: tcp.subarray((tcp[12]! >> 4) * 4) };
    });
  const first = segments.find(({ syn }) => syn)!.sequence + 1;
  let text = '';
  for (const { offset, bytes } of segments
    .filter(({ bytes }) => bytes.length > 0)
    .map(({ sequence, bytes }) => ({ offset: (sequence - first) >>> 0, bytes }))
    .sort((a, b) => a.offset - b.offset)) {
    if (offset > text.length) throw new Error(`bytes ${text.length} to ${offset} are missing`);
    text += bytes.toString('latin1', Math.min(text.length - offset, bytes.length));
  }
  return text;
}

export const argv = (bytes: Buffer): string[] => bytes.toString('latin1').split('\0').slice(0, -1);

/** Ids of the BPF programs that a process holds. */
export function programIds(pid: number | 'self', descriptors: readonly string[]): number[] {
  const ids = descriptors.flatMap((fd) => {
    try {
      return [...readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1').matchAll(/^prog_id:\s*(\d+)$/gm)].map((match) =>
        Number(match[1]),
      );
    } catch {
      return []; // closed in the meantime
    }
  });
  return [...new Set(ids)];
}

/** Ids of all BPF programs in the kernel: bpf(BPF_PROG_GET_NEXT_ID) until there is none. */
const LIST_PROGRAMS = `
import ctypes, platform
libc = ctypes.CDLL(None, use_errno=True)
number = {'x86_64': 321, 'aarch64': 280}[platform.machine()]
attr = (ctypes.c_uint32 * 4)()
while libc.syscall(number, 11, ctypes.byref(attr), 12) == 0:
    print(attr[1])
    attr[0] = attr[1]
`;

export async function allProgramIds(): Promise<Set<number>> {
  const { stdout } = await finish(spawn('/usr/bin/python3', ['-c', LIST_PROGRAMS]));
  return new Set(stdout.split('\n').filter(Boolean).map(Number));
}
