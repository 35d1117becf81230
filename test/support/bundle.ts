/** One JavaScript file of a script of ours: it starts in half the time. */
import { join } from 'node:path';
import { build } from 'esbuild';

/** Returns the file's path, in `folder`. */
export async function bundleScript(script: string, folder: string): Promise<string> {
  const outfile = join(folder, 'script.mjs');
  await build({
    entryPoints: [script],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'silent',
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
  });
  return outfile;
}
