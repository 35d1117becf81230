/** One JavaScript file of a script of ours: it starts in half the time. */
import { basename, join } from 'node:path';
import { build } from 'rolldown';

/** Returns the file's path, in `folder`. */
export async function bundleScript(script: string, folder: string): Promise<string> {
  const file = join(folder, `${basename(script, '.ts')}.mjs`);
  await build({
    input: script,
    platform: 'node',
    logLevel: 'silent',
    output: { file, format: 'esm', codeSplitting: false },
  });
  return file;
}
