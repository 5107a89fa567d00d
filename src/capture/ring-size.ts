import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';

const MIB = 1024 * 1024;
/** For the moment until the native module takes out what is in it: see native/ring_reader.c. */
const PUNCTUAL = 2 * MIB;
/**
 * Where the thread that takes it out has to wait for its turn like any other: 16 clients at full speed beside 10 busy processes
 * on 2 processors filled 2 MiB in 1 run of 6, 4 MiB in 1 of 6, 8 MiB in none of 4. With real-time priority 2 MiB in none of 4.
 */
const PATIENT = 8 * MIB;
/** Below, the difference is felt. */
const MUCH_MEMORY = 1024 * MIB;
/** Bit of linux/capability.h; without it no thread may take a real-time priority (sched(7)). */
const CAP_SYS_NICE = 23n;

/** Size of the ring buffer where none is asked for, in bytes. `status`: of this process, as in /proc (proc(5)). */
export function defaultRingBytes(status = readStatus(), memoryBytes = totalmem()): number {
  const capabilities = /^CapEff:\s*([0-9a-f]{1,16})$/m.exec(status)?.[1];
  const mayHurry = capabilities !== undefined && ((BigInt(`0x${capabilities}`) >> CAP_SYS_NICE) & 1n) === 1n;
  return mayHurry || memoryBytes < MUCH_MEMORY ? PUNCTUAL : PATIENT;
}

function readStatus(): string {
  try {
    return readFileSync('/proc/self/status', 'latin1');
  } catch {
    return '';
  }
}
