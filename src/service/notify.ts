import process from 'node:process';

/** Sends one datagram to the service manager: 0, or -errno. See native/capture.h. */
export type SendState = (address: string, text: string) => number;

/** What a service may tell (sd_notify(3)). */
export type ServiceState = 'ready' | 'watchdog' | 'reloading' | 'stopping';

const MAX_STATUS = 200;

/**
 * Tells the service manager how the tracer is; without one (no NOTIFY_SOCKET) it does nothing. What the manager has no
 * room for at the moment is sent along with the next state: a service that is ready must not be taken for one that hangs.
 */
export class ServiceManager {
  #unsent = '';

  constructor(
    private readonly address: string | undefined,
    private readonly send: SendState,
  ) {}

  /** Takes NOTIFY_SOCKET out of the environment, so that no child process (the lab's) speaks for the service. */
  static fromEnvironment(send: SendState): ServiceManager {
    const address = process.env['NOTIFY_SOCKET'];
    delete process.env['NOTIFY_SOCKET'];
    return new ServiceManager(address === '' ? undefined : address, send);
  }

  /** `status`: a line for people, which `systemctl status` shows. Never throws, never waits. */
  tell(state: ServiceState, status?: string): void {
    if (this.address === undefined) return;
    let text = this.#unsent + STATES[state]();
    // A line break would begin another assignment.
    if (status !== undefined) text += `STATUS=${status.replace(/[\0-\x1f\x7f]+/g, ' ').slice(0, MAX_STATUS)}\n`;
    const lasting = state === 'watchdog' ? this.#unsent : text;
    this.#unsent = this.send(this.address, text) === 0 ? '' : lasting.slice(-MAX_UNSENT);
  }
}

/** Room for the few states that are not repeated by themselves. */
const MAX_UNSENT = 2048;

const STATES: Readonly<Record<ServiceState, () => string>> = {
  ready: () => 'READY=1\n',
  watchdog: () => 'WATCHDOG=1\n',
  // Of CLOCK_MONOTONIC, which is what hrtime reads: systemd tells by it which READY=1 ends the reload.
  reloading: () => `RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}\n`,
  stopping: () => 'STOPPING=1\n',
};
