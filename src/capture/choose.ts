import { captureError, TracerError } from '../errors.js';
import { type EbpfOptions, openEbpf } from './ebpf.js';
import { openPcapLive, type PcapLiveOptions } from './pcap.js';
import type { CaptureSource, EndpointAddress } from './types.js';

export type SourceChoice = 'auto' | 'ebpf' | 'pcap';

export interface LiveSource {
  source: CaptureSource;
  /** Why this one, where the choice was automatic and not the first choice. */
  reason?: string;
}

/**
 * Opens a live source. `auto` is eBPF where it attaches and passes its self-test, else libpcap. Throws a capture error
 * where none opens; with `auto` it says why neither does.
 */
export function openLive(name: SourceChoice, options: EbpfOptions & PcapLiveOptions): LiveSource {
  if (name === 'pcap') return { source: openPcapLive(options) };
  try {
    return { source: openEbpf(options) };
  } catch (error) {
    if (name === 'ebpf' || !(error instanceof TracerError) || ALIKE.has(error.code)) throw error;
    return fallBack(error, options);
  }
}

/** An address that nobody has (TEST-NET-1, RFC 5737): of a source that is only opened, tested over loopback, and closed. */
export const NOBODYS_ENDPOINT: EndpointAddress = { address: '192.0.2.1', port: 80 };

/** For people: which source, and why not the first choice. */
export const describeLive = ({ source, reason }: LiveSource): string =>
  reason === undefined ? source.description : `${source.description}; not eBPF, because: ${reason}`;

/** Errors that libpcap would meet as well. */
const ALIKE: ReadonlySet<string> = new Set(['IMDS_E_ARGUMENT', 'IMDS_E_LIBRARY', 'IMDS_E_ABI']);

function fallBack(ebpf: TracerError, options: PcapLiveOptions): LiveSource {
  try {
    return { source: openPcapLive(options), reason: `${ebpf.message} [${ebpf.code}]` };
  } catch (error) {
    if (!(error instanceof TracerError)) throw error;
    throw captureError(
      ebpf.code,
      `neither source can capture here. ${ebpf.message} [${ebpf.code}]. ${error.message} [${error.code}]`,
      `${ebpf.remedy ?? ''} Or, for libpcap: ${error.remedy ?? ''}`,
    );
  }
}
