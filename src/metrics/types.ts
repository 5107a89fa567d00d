/** A series' value at present; `labels` has exactly the names that its metric names. */
export interface Sample {
  labels?: Readonly<Record<string, string>>;
  value: number;
}

/**
 * A metric of `--metrics`. Who counts keeps a plain number and gives a way to read it; nothing is done between scrapes.
 *
 * Label values come from a closed set, or are bounded by who gives them: every value is a series that the receiver keeps.
 */
export interface Metric {
  /** Without the prefix `imds_tracer_`; of a counter it ends in `_total`. */
  name: string;
  /** One sentence for people. */
  help: string;
  /** A counter only ever grows while the process lives. */
  type: 'counter' | 'gauge';
  /** None: one series. */
  labels?: readonly string[];
  /** Called at each scrape. Fast, and never throws. */
  read(): number | readonly Sample[];
}

/** Who has metrics: a sink of the session says so by this. */
export interface HasMetrics {
  readonly metrics?: readonly Metric[];
}
