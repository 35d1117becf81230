/**
 * Builds dist/pve-reconciler.js and, beside it, parts/: all packages are in it, so that a host
 * needs nothing but Node. Not minified, with source maps. Run by `npm run build` and on `npm ci`.
 *
 * What is run is the small file alone; a command then loads the parts it needs. One file would be
 * read and parsed whole by every `--help`, and kept in memory whole by the agent.
 */
import { chmod, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Plugin, rolldown } from 'rolldown';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * What is loaded together: each with all it imports that no part above has taken. To open a file
 * takes longer than to read it, so a handful of parts is faster than one for every module.
 */
const PARTS: readonly (readonly [string, RegExp])[] = [
  [
    'cli',
    /\/command-line\/cli\.ts$|\/terminal\/(?:op-text|table)\.ts$|\/control\/op-(?:ref|document)\.ts$/,
  ],
  ['config', /\/config\/config\.ts$|\/agent\/system\.ts$|\/reconcile\/desired\.ts$/],
  ['journal-reader', /\/journal\/(?:reader|tail)\.ts$/],
  ['journal', /\/journal\/(?:journal|repair|verify)\.ts$|\/daemon\/state-owner\.ts$/],
  ['values', /\/values\/same-value\.ts$|\/desired\/file\.ts$/],
  ['signing', /\/hub\/(?:agent-key|envelope-file)\.ts$/],
  ['agent-client', /\/control\/find-agent\.ts$|\/terminal\/(?:watch-op|op-wait)\.ts$/],
  ['session', /\/daemon\/session\.ts$|\/control\/guest-view\.ts$|\/commands\/(?:apply|plan)\.ts$/],
];

/** `outfile` ends in `.js`; the parts go into the folder it is in. */
export async function buildProgram(outfile: string): Promise<void> {
  const folder = dirname(outfile);
  await rm(join(folder, 'parts'), { recursive: true, force: true });
  const bundle = await rolldown({
    cwd: root,
    input: 'src/agent/main.ts',
    platform: 'node',
    plugins: [embedPage, clientOfUndici, leaveOut],
  });
  const { output } = await bundle.write({
    dir: folder,
    format: 'esm',
    sourcemap: true,
    comments: { legal: true, annotation: false, jsdoc: false },
    banner: ({ isEntry }) => (isEntry ? '#!/usr/bin/env node' : ''),
    entryFileNames: basename(outfile),
    // Without a package.json beside them, only the name says that they are modules.
    chunkFileNames: 'parts/[name].mjs',
    codeSplitting: { groups: PARTS.map(([name, test]) => ({ name, test })) },
  });
  await bundle.close();
  for (const part of output) {
    if (part.type === 'chunk') await writeFile(join(folder, part.fileName), inAscii(part.code));
  }
  await chmod(outfile, 0o755);
}

/** V8 keeps a source that has one character beyond Latin-1 at two bytes for every character. */
function inAscii(code: string): string {
  // What a backslash stands before would read otherwise.
  const escaped = /\\[^\0-\x7f]/.exec(code)?.[0];
  if (escaped !== undefined) throw new Error(`cannot be told in ASCII: ${escaped}`);
  return code.replace(/[^\0-\x7f]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** The web page's files, as text in place of the module that reads them from beside itself. */
const embedPage: Plugin = {
  name: 'embed-page',
  load: {
    filter: { id: /\/page\/files\.ts$/ },
    async handler(id) {
      const { PAGE_FILES } = await import(id);
      return {
        code: `export const PAGE_FILES = ${JSON.stringify(PAGE_FILES, null, 2)};`,
        moduleType: 'js',
      };
    },
  },
};

/**
 * Of undici its HTTP client alone: the index pulls in fetch, web sockets, caches and mocks, a
 * megabyte that an agent would keep in memory.
 */
const UNDICI_CLIENT = `
  import * as api from 'undici/lib/api/index.js';
  import Agent from 'undici/lib/dispatcher/agent.js';
  import Dispatcher from 'undici/lib/dispatcher/dispatcher.js';
  import Pool from 'undici/lib/dispatcher/pool.js';
  Object.assign(Dispatcher.prototype, api);
  export { Agent, Pool };
  export const request = (url, { dispatcher, ...options }) =>
    dispatcher.request({ ...options, origin: url.origin, path: url.pathname + url.search });
`;

const clientOfUndici: Plugin = {
  name: 'client-of-undici',
  resolveId: { filter: { id: /^undici$/ }, handler: (id) => `\0${id}` },
  load: {
    filter: { id: /^\0undici$/ },
    handler: () => ({ code: UNDICI_CLIENT, moduleType: 'js' }),
  },
};

/** Packages that Fastify loads for JSON schemas of its own, and for `inject`: it is given neither. */
const LEFT_OUT =
  /^(?:@fastify\/ajv-compiler|@fastify\/fast-json-stringify-compiler|light-my-request)$/;

const leaveOut: Plugin = {
  name: 'leave-out',
  resolveId: { filter: { id: LEFT_OUT }, handler: (id) => `\0left-out:${id}` },
  load: {
    filter: { id: /^\0left-out:/ },
    handler: () => ({ code: `throw new Error('left out of the bundle');`, moduleType: 'js' }),
  },
};

if (import.meta.main) await buildProgram(`${root}dist/pve-reconciler.js`);
