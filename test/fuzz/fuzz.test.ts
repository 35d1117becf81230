/** What fuzzing has found stays found; and the search itself finds what chance would not. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BlockCoverage } from './block-coverage.ts';
import { hunt, tryInput } from './hunt.ts';
import { type FuzzTarget, insist } from './target.ts';
import { FIXTURES, targetFile, targetNames } from './target-files.ts';

function readFound(name: string): readonly (readonly [string, Buffer])[] {
  const folder = join(FIXTURES, name);
  if (!existsSync(folder)) return [];
  return readdirSync(folder).map((file) => [file, readFileSync(join(folder, file))] as const);
}

describe.each(targetNames())('%s', (name) => {
  test('holds its laws for an input of each kind and for all that was found', async () => {
    const { target }: { target: FuzzTarget } = await import(targetFile(name));
    const [first = ''] = await target.seeds();
    for (const [file, input] of [
      ['the first seed', Buffer.from(first)] as const,
      ...readFound(name),
    ]) {
      expect(await tryInput(target, input), file).toBeNull();
    }
  });
});

test('every found input belongs to a target', () => {
  const folders = existsSync(FIXTURES) ? readdirSync(FIXTURES) : [];
  expect(folders.filter((name) => !targetNames().includes(name))).toEqual([]);
});

test('the search is led by coverage: it comes through three gates, one behind the other', async () => {
  const gates: FuzzTarget = {
    seeds: () => ['---'],
    words: ['a', 'b', 'c'],
    run(input) {
      if (input[0] !== 0x61) return;
      if (input[1] !== 0x62) return;
      insist(input[2] !== 0x63, 'nobody gets here');
    },
  };
  using coverage = new BlockCoverage(/fuzz\.test/);
  const { finding } = await hunt(gates, { coverage, seed: 1, seconds: 60, runs: 3_000 });
  expect(finding?.input.toString()).toBe('abc');
  expect(finding?.error.message).toBe('nobody gets here');
});
