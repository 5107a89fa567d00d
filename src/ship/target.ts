import type { EventFormat } from '../output/formats.js';

/** Files for TLS, each in PEM. They are read anew for each connection, so that renewed certificates take effect. */
export interface TlsFiles {
  /** Authorities to trust instead of the system's. */
  ca?: string;
  /** The certificate to show to the receiver, and its key. */
  cert?: string;
  key?: string;
  /** The name that the receiver's certificate must have, where it is not the host of the URL. */
  servername?: string;
}

interface AnyTarget {
  /** The URL as far as it tells this receiver from others, for messages and metrics: no files, nothing secret. */
  name: string;
  /** Folder of its spool: the same for the same receiver and format, a safe file name. */
  id: string;
  host: string;
  port: number;
  tls?: TlsFiles;
}

export interface SyslogTarget extends AnyTarget {
  kind: 'syslog';
  transport: 'tcp' | 'tls' | 'udp';
  format: EventFormat;
  /** RFC 5424, section 6.2.1: 0 to 23. */
  facility: number;
  appName: string;
  /** Bytes of a message, at most. */
  maxSize: number;
}

export interface OtlpTarget extends AnyTarget {
  kind: 'otlp';
  secure: boolean;
  path: string;
  /** Lines `Name: value`, sent with each request: where credentials stand. */
  headersFile?: string;
  gzip: boolean;
}

export type ShipTarget = SyslogTarget | OtlpTarget;
