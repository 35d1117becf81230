/** A vitest reporter that ends a run with one line for machines: `N passed, N failed`. */
import type { TestModule } from 'vitest/node';

export class ClosingLine {
  onTestRunEnd(modules: readonly TestModule[]): void {
    let passed = 0;
    let failed = 0;
    let skipped = 0;
    for (const module of modules) {
      // A file that could not even be collected counts as one failure.
      const tests = [...module.children.allTests()];
      if (tests.length === 0 && !module.ok()) failed += 1;
      for (const test of tests) {
        const { state } = test.result();
        if (state === 'passed') passed += 1;
        else if (state === 'failed') failed += 1;
        else skipped += 1;
      }
    }
    const more = skipped === 0 ? '' : `, ${skipped} skipped`;
    console.log(`\n${passed} passed, ${failed} failed${more}`);
  }
}
