/**
 * Builds dist/pve-reconciler.js: one readable file with all packages in it, so that a host needs
 * nothing but Node. Not minified, with a source map. Run by `npm run build` and on `npm ci`.
 */
import { chmod } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));

// CommonJS packages in the bundle call `require` for Node's own modules.
const banner = `#!/usr/bin/env node
import { createRequire as createBundleRequire } from 'node:module';
const require = createBundleRequire(import.meta.url);`;

export async function buildProgram(outfile: string): Promise<void> {
  await build({
    absWorkingDir: root,
    entryPoints: ['src/agent/main.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    // The file must parse on Node 20, to say that it needs 24.
    target: 'node20',
    banner: { js: banner },
    sourcemap: 'linked',
    legalComments: 'inline',
    logLevel: 'warning',
  });
  await chmod(outfile, 0o755);
}

if (import.meta.main) await buildProgram(`${root}dist/pve-reconciler.js`);
