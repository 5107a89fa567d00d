import { parseAddress } from '../addresses.js';
import { usageError } from '../errors.js';
import { Layout } from './layout.js';
import type { EndpointAddress } from './types.js';

/** The endpoints as an array of struct imds_endpoint; IMDS_E_ARGUMENT for what is no IP address with a port. */
export function encodeEndpoints(endpoints: readonly EndpointAddress[]): Buffer {
  const bytes = Buffer.alloc(endpoints.length * Layout.endpoint.size);
  for (const [i, { address, port }] of endpoints.entries()) {
    const at = i * Layout.endpoint.size;
    const parsed = parseAddress(address);
    if (!parsed || !Number.isInteger(port) || port < 1 || port > 65535) {
      throw usageError(
        'IMDS_E_ARGUMENT',
        `Not an IP address with a port: ${address} ${port}`,
        'Give endpoints with an address and a port.',
      );
    }
    parsed.copy(bytes, at + Layout.endpoint.address);
    bytes.writeUInt16LE(port, at + Layout.endpoint.port);
  }
  return bytes;
}

/** A struct imds_error that was filled. */
export function readNativeError(error: Buffer): { code: number; text: string } {
  return { code: error.readInt32LE(Layout.error.code), text: readText(error, Layout.error.text) };
}

/** The text from `at` up to its NUL. */
export function readText(bytes: Buffer, at: number): string {
  return bytes.toString('utf8', at, Math.max(at, bytes.indexOf(0, at)));
}
