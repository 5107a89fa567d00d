/** What must be undone, in reverse order, all of it even where one step fails. */
export class CleanupStack {
  readonly #steps: [what: string, undo: () => unknown][] = [];

  defer(what: string, undo: () => unknown): void {
    this.#steps.push([what, undo]);
  }

  async run(): Promise<void> {
    const failures: Error[] = [];
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      const [what, undo] = step;
      try {
        await undo();
      } catch (cause) {
        failures.push(new Error(`could not ${what}: ${cause instanceof Error ? cause.message : cause}`, { cause }));
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, failures.map(({ message }) => message).join('\n'));
  }
}
