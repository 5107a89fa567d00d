/** Measurements of one thing over the rounds. */
export type Rounds = readonly number[];

export interface Goal {
  /** As the table shows it. */
  text: string;
  met: boolean;
}

/** One line of the table: a measurement beside what it is compared with, measured alternately in the same run. */
export interface Row {
  name: string;
  unit: string;
  tracer: Rounds;
  yardstick: string;
  /** In the same unit, in the same order. */
  against: Rounds;
  /** Of each round; by default tracer through yardstick. */
  ratios?: Rounds;
  goal?: Goal;
  note?: string;
}

export const ratiosOf = ({ tracer, against, ratios }: Pick<Row, 'tracer' | 'against' | 'ratios'>): Rounds =>
  ratios ?? tracer.map((value, round) => value / against[round]!);

export function median(values: Rounds): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The least of rounds that were disturbed by whatever else the machine did, the middle, the greatest. */
export const spread = (values: Rounds): { min: number; median: number; max: number } => ({
  min: Math.min(...values),
  median: median(values),
  max: Math.max(...values),
});

export const atMost = (limit: number, found: number, text = `<= ${limit}`): Goal => ({ text, met: found <= limit });
