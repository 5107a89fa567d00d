/** A process for people and SIEMs. Text is decoded by text.ts `decodeBytes`: may hold control characters, never lone bytes. */
export interface ProcessSummary {
  pid: number;
  /** Task name (comm). */
  name: string;
  /** Epoch milliseconds. */
  startTime?: number;
  args?: readonly string[];
  /** The arguments were longer than what was kept. */
  argsTruncated?: boolean;
  executable?: string;
}

export interface ProcessInfo extends ProcessSummary {
  /** Stable across restarts of the tracer: of host, pid and start time. */
  entityId: string;
  user?: { id: number; name?: string };
  /** Parent first, at most 8. */
  ancestors: readonly ProcessSummary[];
  /** systemd unit: service, scope, or the user slice where there is no closer one. */
  unit?: string;
  container?: { id: string; runtime: string };
  podUid?: string;
  netns?: number;
}

/** How the process behind a connection is known. */
export interface Attribution {
  how: 'connect' | 'procfs' | 'none';
  /** Why not, or with what limits: `exited`, `other_host`, `forwarded`, `ambiguous`, `arguments_truncated`, … */
  detail?: string;
  process?: ProcessInfo;
}
