import { clientScript, type Scene } from './scene.js';

/** What one connection does, as clients/raw.py reads it; text stands for bytes, as latin1. */
export type Action =
  | ['send', string]
  | ['sendmsg', readonly string[]]
  | ['answers', number]
  | ['end']
  | ['pause', number]
  | ['reset'];

export interface RawPlan {
  address: string;
  port?: number;
  /** Connect an IPv6 socket to the IPv4-mapped address. */
  mapped?: boolean;
  /** Bind this port, for each connection again. */
  local_port?: number;
  /** One after the other. */
  connections: readonly (readonly Action[])[];
}

/** Runs raw.py in the client namespace; `extra` are arguments that it does not look at. */
export async function sendRaw(
  scene: Scene,
  python: string,
  plan: RawPlan,
  extra: readonly string[] = [],
): Promise<{ pid: number; ports: number[] }> {
  const { stdout } = await scene.runOk([python, clientScript('raw.py'), ...extra], { input: JSON.stringify(plan) });
  return JSON.parse(stdout) as { pid: number; ports: number[] };
}

/** The bytes of an HTTP/1.1 request, as latin1. */
export function requestText(target: string, headers: readonly string[] = [], method = 'GET', body = ''): string {
  return `${[`${method} ${target} HTTP/1.1`, 'Host: 100.100.100.200', ...headers].join('\r\n')}\r\n\r\n${body}`;
}
