export type Random = (below: number) => number;

/** Whole numbers from 0, the same in every run: xorshift32. `seed` is none of 0 modulo 2^32. */
export function randomFrom(seed: number): Random {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

export const oneOf = <T>(random: Random, values: readonly T[]): T => values[random(values.length)]!;
