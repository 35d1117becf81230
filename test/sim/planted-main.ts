/**
 * Runs seeds on code with each planted bug in turn, and prints a line of JSON for each: did its
 * check fail? Every bug has a copy of all our modules of its own, patched as they are loaded.
 */
import { readFileSync } from 'node:fs';
import { registerHooks, stripTypeScriptTypes } from 'node:module';
import { PLANTED_BUGS, type PlantedBug } from './planted-bugs.ts';

const MARK = 'planted';
const SEEDS_MAX = 400;

/** Those whose text was found. */
const patched = new Set<PlantedBug>();

registerHooks({
  resolve(specifier, context, nextResolve) {
    const resolved = nextResolve(specifier, context);
    const mark = new URL(context.parentURL ?? 'file:///').searchParams.get(MARK);
    const isOurs = resolved.url.startsWith('file:') && !resolved.url.includes('/node_modules/');
    if (mark === null || !isOurs) return resolved;
    const url = new URL(resolved.url);
    url.searchParams.set(MARK, mark);
    return { ...resolved, url: url.href };
  },
  load(url, context, nextLoad) {
    const { pathname, searchParams } = new URL(url);
    const bug = PLANTED_BUGS[Number(searchParams.get(MARK) ?? Number.NaN)];
    if (bug === undefined || !pathname.endsWith('.ts')) return nextLoad(url, context);
    const source = pathname.endsWith(`/src/${bug.file}`)
      ? stripTypeScriptTypes(plant(bug, readFileSync(pathname, 'utf8')))
      : withoutTypes(pathname);
    return { format: 'module', source, shortCircuit: true };
  },
});

function plant(bug: PlantedBug, source: string): string {
  if (source.includes(bug.find)) patched.add(bug);
  return source.replace(bug.find, bug.replace);
}

/** Node would take them out anew for every bug. */
const stripped = new Map<string, string>();

function withoutTypes(file: string): string {
  const known = stripped.get(file) ?? stripTypeScriptTypes(readFileSync(file, 'utf8'));
  stripped.set(file, known);
  return known;
}

/** A seed in which the bug's check fails; null: none does. */
async function findSeed(index: number, bug: PlantedBug): Promise<number | null> {
  const { writeScript } = await import('./script-writer.ts');
  const { runScript }: typeof import('./simulation.ts') = await import(
    `./simulation.ts?${MARK}=${index}`
  );
  if (!patched.has(bug)) return null;
  const known = bug.seed === undefined ? [] : [bug.seed];
  for (const seed of [...known, ...Array.from({ length: SEEDS_MAX }, (_, index) => index + 1)]) {
    const { violations } = await runScript(writeScript(seed));
    if (violations.some(({ check }) => check === bug.check)) return seed;
  }
  return null;
}

// A planted bug may leave a rejection that nobody waits for.
process.on('unhandledRejection', () => undefined);

for (const [index, bug] of PLANTED_BUGS.entries()) {
  const seed = await findSeed(index, bug);
  const { name, check } = bug;
  const isPatched = patched.has(bug);
  process.stdout.write(`${JSON.stringify({ name, check, isPatched, seed })}\n`);
}
