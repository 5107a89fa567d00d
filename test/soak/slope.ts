export interface Slope {
  /** Of y for each unit of x. */
  perUnit: number;
  /** Its standard error. */
  error: number;
}

/** The straight line through points by least squares. At least 3 points, of which not all have the same x. */
export function slope(points: readonly (readonly [x: number, y: number])[]): Slope {
  const count = points.length;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / count;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / count;
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const perUnit = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
  const residual = points.reduce((sum, [x, y]) => sum + (y - meanY - perUnit * (x - meanX)) ** 2, 0);
  return { perUnit, error: Math.sqrt(residual / (count - 2) / spread) };
}
