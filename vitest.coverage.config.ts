/**
 * `npm run coverage`: the branches of the rooms that decide and that remember are taken by tests of
 * their own, every one. The thresholds leave room for the few that a race between processes takes,
 * should it fall the other way on a slow machine.
 */
import { defineConfig, mergeConfig, type Plugin } from 'vitest/config';
import base from './vitest.config.ts';

/**
 * The arm that `assertNever` or `satisfies never` stands in is there for the compiler: no value of
 * its type reaches it, and no test could.
 */
const armsOfNever: Plugin = {
  name: 'arms-of-never',
  enforce: 'pre',
  transform: (code) =>
    code.replaceAll(
      /default:(?=\n\s+(?:return )?(?:assertNever\(|\w+ satisfies never;))/g,
      '/* v8 ignore next -- @preserve */ default:',
    ),
};

// Lists are joined, not replaced, by mergeConfig.
export default mergeConfig(
  { ...base, test: { ...base.test, include: [] } },
  defineConfig({
    plugins: [armsOfNever],
    test: {
      include: ['test/{reconcile,journal,scenarios}/**/*.test.ts'],
      // In a worker that serves file after file what was counted for one is lost to the next.
      isolate: true,
      // Counting slows the loops over every crash point.
      testTimeout: 120_000,
      coverage: {
        enabled: true,
        provider: 'v8',
        include: ['src/{reconcile,journal}/**'],
        reporter: ['text-summary', 'html'],
        reportOnFailure: true,
        thresholds: {
          'src/reconcile/**': { branches: 99.5 },
          'src/journal/**': { branches: 99.5 },
        },
      },
    },
  }),
);
