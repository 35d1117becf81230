/**
 * No regular expression of the program takes more than time in proportion to its text, whatever the
 * text: what it reads comes from hubs, nodes and files. Shown of the expressions themselves, not
 * by a clock.
 */
import { globSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseAst } from 'rolldown/parseAst';
import { analyse } from 'scslre';
import { expect, test } from 'vitest';
import { findOption, optionNames } from '../src/proxmox/values/options.ts';

interface Expression {
  readonly source: string;
  readonly flags: string;
  readonly where: string;
}

const SRC = join(import.meta.dirname, '../src');

test('an expression that backtracks is found', () => {
  for (const source of ['(a+)+$', '\\s*\\n', '^a*a*$', 'x\\d+$']) {
    expect(slow({ source, flags: '', where: 'here' }), source).toHaveLength(
      source === 'x\\d+$' ? 0 : 1,
    );
  }
});

test('no expression written in src backtracks', () => {
  const found = globSync('**/*.{ts,js}', { cwd: SRC }).flatMap((name) => written(join(SRC, name)));
  expect(found.length).toBeGreaterThan(100);
  expect(found.flatMap(slow)).toEqual([]);
});

test('no pattern of an option that PVE knows backtracks', () => {
  const patterns = new Map<string, string>();
  for (const kind of ['qemu', 'lxc'] as const) {
    for (const key of optionNames(kind)) {
      const option = findOption(kind, key);
      for (const facts of [option?.facts, ...(option?.format?.properties.values() ?? [])]) {
        if (facts?.pattern !== undefined) patterns.set(facts.pattern, `${kind} ${key}`);
      }
    }
  }
  expect(patterns.size).toBeGreaterThan(10);
  for (const [pattern, where] of patterns) {
    expect(slow({ source: `^${pattern}$`, flags: 'us', where })).toEqual([]);
  }
});

/** One line for each way in which it backtracks. */
function slow({ source, flags, where }: Expression): string[] {
  const { reports } = analyse({ source, flags });
  return reports.slice(0, 1).map(({ type }) => `${where}: /${source}/${flags} (${type})`);
}

function written(file: string): Expression[] {
  const text = readFileSync(file, 'utf8');
  const found: Expression[] = [];
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    if ('regex' in node && 'start' in node) {
      const { pattern, flags } = node.regex as { pattern: string; flags: string };
      const line = text.slice(0, Number(node.start)).split('\n').length;
      found.push({ source: pattern, flags, where: `${relative(SRC, file)}:${line}` });
    }
    Object.values(node).forEach(visit);
  };
  visit(parseAst(text, { lang: file.endsWith('.ts') ? 'ts' : 'js' }));
  return found;
}
