import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { manPage } from '../../deploy/man-page.ts';

const deploy = join(import.meta.dirname, '../../deploy');

test('the manual page has every command and option, with its dashes escaped', () => {
  const page = manPage('1.2.3', '2026-11-21');
  for (const name of ['doctor', 'setup', 'adopt [REFS...]', 'ops list', 'journal verify']) {
    expect(page).toContain(`\n.B ${name}\n`);
  }
  expect(page).toContain('\n.B \\-\\-startup\\-order\n');
  expect(page).not.toMatch(/^\.[a-z]/m);
});

test('every script of the package is one that sh can read', () => {
  const scripts = readdirSync(join(deploy, 'debian')).filter((name) => /^(?:post|pre)/.test(name));
  expect(scripts.length).toBe(3);
  for (const name of scripts) execFileSync('sh', ['-n', join(deploy, 'debian', name)]);
});

test('the unit makes every folder the agent writes to, and never joins www-data', () => {
  const unit = readFileSync(join(deploy, 'systemd/pve-reconciler.service'), 'utf8');
  for (const kind of ['State', 'Runtime', 'Logs', 'Configuration']) {
    expect(unit).toContain(`\n${kind}Directory=pve-reconciler\n`);
  }
  expect(unit).toContain('\nStateDirectoryMode=0700\n');
  expect(unit).not.toMatch(/^(?:Supplementary)?Groups?=.*www-data/m);
});
