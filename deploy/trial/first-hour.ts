/** From nothing to a first plan, as an administrator does it, and what is then where. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { type Document, parse, parseDocument, stringify } from 'yaml';
import type { BootedRoot } from './booted-root.ts';
import { OTHER_RUNNING_GUEST, RUNNING_GUEST, SLOW_GUEST } from './standing-node.ts';

export const UNIT = 'pve-reconciler.service';
const CONFIG = '/etc/pve-reconciler/config.yaml';
const DOCUMENT = '/etc/pve-reconciler/desired.d/guests.yaml';
/** On a host with 100 guests, and nothing else to do. */
export const FIRST_PLAN_MAX_MS = 60_000;

export function say(text: string): void {
  console.log(`- ${text}`);
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** Returns how long it took to the first plan, ms. */
export function tryFirstHour(root: BootedRoot, file: string): number {
  const began = performance.now();
  root.install(file);
  const installedMs = performance.now() - began;
  assert.equal(root.run('systemctl', 'is-enabled', UNIT).trim(), 'enabled');
  root.run('systemctl', 'start', UNIT);
  assert.equal(root.property(UNIT, 'ActiveState'), 'inactive', 'nothing runs before setup');
  root.run('pve-reconciler', 'setup');
  const setUpMs = performance.now() - began;
  const doctor = root.ended('pve-reconciler', 'doctor');
  assert.match(doctor.said, /^0 errors/m);
  root.run('systemctl', 'start', UNIT);
  const plan = root.ended('pve-reconciler', 'plan', '--json');
  const tookMs = performance.now() - began;
  assert.equal(plan.exit, 0, 'what was just adopted differs in nothing');
  assert.match(plan.said, /"guests":\s*101/);
  say(
    `installed (${seconds(installedMs)}), set up (${seconds(setUpMs)}), started, first plan of 101 guests: ${seconds(tookMs)}`,
  );
  assert.equal(root.ended('pve-reconciler', 'setup').exit, 0);
  assert.equal(root.ended('pve-reconciler', 'plan').exit, 0);
  say('a second setup changes nothing');
  return tookMs;
}

/** Type=notify: `start` has come back, so the agent has said that it is up. */
export function tryFolders(root: BootedRoot): void {
  assert.equal(root.property(UNIT, 'StatusText'), 'agent pve1 is up');
  const own = 'pve-reconciler:pve-reconciler';
  for (const [path, owner] of [
    ['/var/lib/pve-reconciler', `${own} 700`],
    ['/var/log/pve-reconciler', `${own} 750`],
    ['/etc/pve-reconciler', 'root:root 755'],
    ['/etc/pve-reconciler/token', `${own} 600`],
  ] as const) {
    assert.equal(root.ownerOf(path), owner, path);
  }
  const run = root.run(
    'stat',
    '-c',
    '%U:%G %a',
    '/run/pve-reconciler',
    '/run/pve-reconciler/agent.sock',
  );
  assert.equal(run, `${own} 755\n${own} 660\n`);
  assert.doesNotMatch(root.run('id', 'pve-reconciler'), /www-data/);
  say('notified; every folder has its owner and mode; never in www-data');
}

export function editDocument(root: BootedRoot, edit: (document: Document) => void): void {
  const document = parseDocument(readFileSync(root.at(DOCUMENT), 'utf8'));
  edit(document);
  writeFileSync(root.at(DOCUMENT), document.toString());
}

/** Faster passes, the API on loopback, and three guests of the document to be enforced. */
export function configure(root: BootedRoot): void {
  const config = parse(readFileSync(root.at(CONFIG), 'utf8'));
  config.reconcile = { mode: 'enforce', interval: '1s' };
  config.control = { listen: '127.0.0.1:8787' };
  config.look = { cgroup: '/run/pve-cgroup' };
  writeFileSync(root.at(CONFIG), stringify(config));
  editDocument(root, (document) => {
    for (const vmid of [RUNNING_GUEST, OTHER_RUNNING_GUEST, SLOW_GUEST]) {
      document.deleteIn(['guests', vmid, 'mode']);
    }
  });
  root.run('systemctl', 'restart', UNIT);
}
