import { defineConfig } from 'vitest/config';
import { PATIENCE } from './test/support/patience.js';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Two cores and real kernels: end-to-end files run one after the other, each with its own network namespaces.
    fileParallelism: false,
    testTimeout: 60_000 * PATIENCE,
    hookTimeout: 60_000 * PATIENCE,
    expect: { poll: { timeout: 1_000 * PATIENCE } },
  },
});
