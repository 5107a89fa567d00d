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

/** The value below which a share of the values lies, between its two neighbours in proportion. */
function quantile(values: Rounds, share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const below = sorted[Math.floor(at)]!;
  return below + (sorted[Math.ceil(at)]! - below) * (at % 1);
}

export const median = (values: Rounds): number => quantile(values, 0.5);

/** What the middle half of the values spans: a few disturbed rounds do not widen it. */
export const middleHalf = (values: Rounds): [number, number] => [quantile(values, 0.25), quantile(values, 0.75)];

/** The least of rounds that were disturbed by whatever else the machine did, the middle, the greatest. */
export const spread = (values: Rounds): { min: number; median: number; max: number } => ({
  min: Math.min(...values),
  median: median(values),
  max: Math.max(...values),
});

export const atMost = (limit: number, found: number, text = `<= ${limit}`): Goal => ({ text, met: found <= limit });
