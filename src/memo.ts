/** Longer texts are not remembered: whoever sends requests could fill the memory with them. */
const MAX_LENGTH = 256;
const MAX_TEXTS = 1_024;

/**
 * A function of short latin1 texts that come again and again, with its results remembered: few enough that no sender of ever new
 * ones can fill the memory. The results are shared, so they must not be changed.
 */
export function memo<T>(make: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    if (text.length > MAX_LENGTH) return make(text);
    let result = known.get(text);
    if (result === undefined) {
      // A copy: a piece of a longer string would keep all of it, and so a head with its token.
      const copy = Buffer.from(text, 'latin1').toString('latin1');
      result = make(copy);
      if (known.size >= MAX_TEXTS) known.clear();
      known.set(copy, result);
    }
    return result;
  };
}
