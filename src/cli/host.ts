import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { createEventContext, type EventContext } from '../output/context.js';
import { version } from '../version.js';

/** What the events of this run say of host and tracer. */
export const hostContext = (): EventContext => createEventContext({ hostName: hostname(), ...machineId(), version });

/** The host's id as systemd keeps it; containers and old systems may have none. */
function machineId(): { hostId?: string } {
  try {
    const id = readFileSync('/etc/machine-id', 'utf8').trim();
    return id === '' ? {} : { hostId: id };
  } catch {
    return {};
  }
}
