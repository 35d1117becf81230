/** Before a test run: the program is built once, as `npm run build` does, for all who start it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildProgram } from '../../deploy/build.ts';

let folder = '';

export async function setup(): Promise<void> {
  folder = mkdtempSync(join(tmpdir(), 'pve-reconciler-built-'));
  const file = join(folder, 'pve-reconciler.js');
  process.env['PVE_RECONCILER_BUILT'] = file;
  await buildProgram(file).catch((error: unknown) => {
    teardown();
    throw error;
  });
}

export function teardown(): void {
  rmSync(folder, { recursive: true, force: true });
}
