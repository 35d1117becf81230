/**
 * Every folder here is a scenario: README.md says what it shows, scenario.yaml is the world, what
 * is wanted and the script, log.expect the whole behaviour in virtual time. A missing log fails;
 * `UPDATE_SCENARIOS=1 vitest run test/scenarios` writes them anew, to be read before committing.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ScenarioRun } from './scenario-run.ts';
import { readScenario } from './scenario-schema.ts';

const folders = readdirSync(import.meta.dirname, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
  .sort();

const isUpdating = process.env['UPDATE_SCENARIOS'] === '1';

describe('scenarios', () => {
  it.each(folders)('%s', async (name) => {
    const folder = join(import.meta.dirname, name);
    expect(readFileSync(join(folder, 'README.md'), 'utf8').trim()).not.toBe('');
    const log = await new ScenarioRun(readScenario(join(folder, 'scenario.yaml'))).run();
    const golden = join(folder, 'log.expect');
    if (isUpdating) writeFileSync(golden, log);
    expect(existsSync(golden), 'log.expect is missing').toBe(true);
    expect(log).toBe(readFileSync(golden, 'utf8'));
    expect(log).not.toContain('BROKEN');
  });

  it('has at least sixty of them', () => expect(folders.length).toBeGreaterThanOrEqual(60));
});
