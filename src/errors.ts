/** Exit statuses of every command; part of the interface that scripts branch on. */
export const ExitCode = {
  done: 0,
  normalModeFound: 1,
  usage: 2,
  cannotCapture: 3,
  incomplete: 4,
} as const;

export type ExitStatus = (typeof ExitCode)[keyof typeof ExitCode];

/**
 * An error that a user can act on: `code` is stable (`IMDS_…`), the message says what failed and why, `remedy` what to do.
 */
export class TracerError extends Error {
  override readonly name = 'TracerError';
  constructor(
    readonly code: `IMDS_${string}`,
    readonly exitStatus: ExitStatus,
    message: string,
    readonly remedy?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Wrong usage or configuration: exit status 2. */
export const usageError = (code: `IMDS_${string}`, message: string, remedy?: string): TracerError =>
  new TracerError(code, ExitCode.usage, message, remedy);

/** This host can't capture: exit status 3. */
export const captureError = (code: `IMDS_${string}`, message: string, remedy?: string): TracerError =>
  new TracerError(code, ExitCode.cannotCapture, message, remedy);

/** What was thrown, in words, whatever it is. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
