import { defineConfig } from 'vitest/config';
import { ClosingLine } from './test/support/closing-line.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Its processes find each other again after real pauses of up to a minute: `npm run
    // test:hub-kills`, and a few of its stories in .ci/run.
    exclude: process.env['HUB_KILLS'] === undefined ? ['test/agent/hub/kills.test.ts'] : [],
    globalSetup: ['test/support/built-program.ts'],
    reporters: ['default', new ClosingLine()],
    // Two cores: more workers only make the processes that tests spawn slower.
    maxWorkers: 2,
    // No test replaces a module or leaves anything behind: a worker serves file after file, which
    // saves a third of the time.
    isolate: false,
    testTimeout: 20_000,
    hookTimeout: 20_000,
  },
});
