/**
 * Seven suites of tests, each a project: `npx vitest run --project unit` runs one of them.
 *
 * Only the suites that start programs wait for a Redis and for the programs in `.build`; they share one of each.
 */
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';

/** The suites that start programs need these. */
const PROGRAMS = { globalSetup: 'test/support/global-setup.ts' };

export default defineConfig({
  test: {
    reporters: ['default', './test/support/summary.ts'],
    coverage: {
      provider: 'v8',
      include: ['{api,worker,shared,deploy}/**/*.ts'],
      reporter: ['text-summary', 'html'],
      reportsDirectory: '.build/coverage',
    },
    projects: [
      suite('unit', ['test/*.test.ts'], {}),
      // TensorFlow is global to a process, so each file has its own.
      suite('backends', [], { isolate: true }),
      suite('integration'),
      suite('e2e', [], {
        ...PROGRAMS,
        // Every answer of the API is held against its OpenAPI document.
        setupFiles: 'test/support/expect-described-answers.ts',
        // A look is a request, which keeps four processes busy.
        expect: { poll: { interval: 150 } },
      }),
      suite('starts'),
      suite('faults'),
      // Everything that is tested is in an image.
      suite('images', [], {}),
    ],
  },
});

function suite(
  name: string,
  more: readonly string[] = [],
  options: TestProjectInlineConfiguration['test'] = PROGRAMS,
): TestProjectInlineConfiguration {
  return {
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`, ...more],
      pool: 'forks',
      // A file runs in the process of the file before it, because loading the product costs more than many tests do.
      isolate: false,
      maxWorkers: 5,
      // These end a test that hangs. Whatever a test waits for has a shorter bound of its own.
      testTimeout: 120_000,
      hookTimeout: 60_000,
      ...options,
    },
  };
}
