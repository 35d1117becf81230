/**
 * Before a test run: the program is built once, as `npm run build` does, and the simulator bundled,
 * for all who start them.
 */
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildProgram } from '../../deploy/build.ts';
import { bundleScript } from './bundle.ts';

const SIMULATOR = join(import.meta.dirname, '../simulator');
let folder = '';

export async function setup(): Promise<void> {
  folder = mkdtempSync(join(tmpdir(), 'pve-reconciler-built-'));
  try {
    const file = join(folder, 'pve-reconciler.js');
    process.env['PVE_RECONCILER_BUILT'] = file;
    await buildProgram(file);
    const simulator = join(folder, 'simulator');
    process.env['PVE_SIMULATOR_BUILT'] = await bundleScript(join(SIMULATOR, 'main.ts'), simulator);
    copyFileSync(join(SIMULATOR, 'schema.json'), join(simulator, 'schema.json'));
  } catch (error) {
    teardown();
    throw error;
  }
}

export function teardown(): void {
  rmSync(folder, { recursive: true, force: true });
}
