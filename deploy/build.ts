/**
 * Builds dist/pve-reconciler.js: one readable file with all packages in it, so that a host needs
 * nothing but Node. Not minified, with a source map. Run by `npm run build` and on `npm ci`.
 */
import { chmod } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';

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
    plugins: [embedPage],
  });
  await chmod(outfile, 0o755);
}

/** The web page's files, as text in place of the module that reads them from beside itself. */
const embedPage: Plugin = {
  name: 'embed-page',
  setup(bundle) {
    bundle.onLoad({ filter: /\/page\/files\.ts$/ }, async ({ path }) => {
      const { PAGE_FILES } = await import(path);
      const contents = `export const PAGE_FILES = ${JSON.stringify(PAGE_FILES, null, 2)};`;
      return { contents, loader: 'js', watchFiles: [path] };
    });
  },
};

if (import.meta.main) await buildProgram(`${root}dist/pve-reconciler.js`);
