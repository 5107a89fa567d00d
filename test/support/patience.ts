/**
 * How many times as long as usual a test may wait for what must happen: more than 1 where the processor is emulated
 * (`npm run test:kernels`). It is for limits of waiting: what a test expects doesn't depend on it, but for answers that may then be
 * later than the second for which the tracer waits.
 */
export const PATIENCE = Number(process.env['IMDS_TEST_PATIENCE'] ?? 1);
