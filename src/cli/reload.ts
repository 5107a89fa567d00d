import { messageOf, TracerError } from '../errors.js';
import { ROWS, type TraceOptions } from './options.js';

/** Something that can change while the tracer runs. */
export interface Step {
  /** The options that it depends on. */
  options: readonly string[];
  /** Makes it as these options say. Throws or rejects where it can't, with all as it was. */
  apply(options: TraceOptions): void | Promise<void>;
}

/** What has come of a reload. */
export interface Reloaded {
  /** Names of options that are other now. */
  changed: string[];
  /** Names of options that are other in the configuration, and stay as they were until a restart. */
  kept: string[];
}

/** The part of the options that an option's name stands for, where that is not its name in camel case. */
const PARTS: Readonly<Record<string, (options: TraceOptions) => unknown>> = {
  interface: ({ networkInterface }) => networkInterface,
  duration: ({ durationMs }) => durationMs,
  'spool-size': ({ spoolBytes }) => spoolBytes,
  'log-max-size': ({ logRotation }) => logRotation.maxBytes,
  'log-max-files': ({ logRotation }) => logRotation.maxFiles,
};

function partOf(options: TraceOptions, name: string): unknown {
  const part = PARTS[name];
  if (part !== undefined) return part(options);
  return options[name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()) as keyof TraceOptions];
}

/** Names of the options that differ. */
export function differences(before: TraceOptions, after: TraceOptions): string[] {
  return ROWS.filter(({ name, notInFile }) => !notInFile && !same(partOf(before, name), partOf(after, name))).map(
    ({ name }) => name,
  );
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/**
 * Goes from one set of options to another, step by step: only those whose options differ. Where a step fails, those before it
 * are taken back, and its error is thrown. What has no step is as it was when the tracer started.
 */
export async function reload(
  started: TraceOptions,
  before: TraceOptions,
  after: TraceOptions,
  steps: readonly Step[],
): Promise<Reloaded> {
  const can = new Set(steps.flatMap(({ options }) => options));
  const changed = differences(before, after).filter((name) => can.has(name));
  const kept = differences(started, after).filter((name) => !can.has(name));
  const done: Step[] = [];
  try {
    for (const step of steps) {
      if (!step.options.some((name) => changed.includes(name))) continue;
      await step.apply(after);
      done.push(step);
    }
  } catch (error) {
    for (const step of done.reverse()) {
      try {
        await step.apply(before);
      } catch {
        // It was possible before. The first error is the one to tell.
      }
    }
    throw error;
  }
  return { changed, kept };
}

/** One line of what went wrong, for people. */
export function explain(error: unknown): string {
  if (!(error instanceof TracerError)) return messageOf(error);
  return `${error.message} [${error.code}]${error.remedy === undefined ? '' : `: ${error.remedy}`}`;
}
