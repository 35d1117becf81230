/** Where targets and found inputs stand. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

const TARGETS = new URL('targets/', import.meta.url);
export const FIXTURES = join(import.meta.dirname, '../fixtures/fuzz');

export function targetNames(): readonly string[] {
  return readdirSync(TARGETS).map((file) => file.replace(/\.ts$/, ''));
}

export function targetFile(name: string): string {
  return new URL(`${name}.ts`, TARGETS).href;
}
