import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/programs.ts', 'test/support/redis.ts'],
    reporters: ['default', './test/support/summary.ts'],
    pool: 'forks',
    maxWorkers: 3,
    // For what hangs; what a test waits for has a bound of its own.
    testTimeout: 120_000,
    hookTimeout: 60_000,
  },
});
