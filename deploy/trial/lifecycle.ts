/** The package over its life on a booted host: newer, older, removed, back again, purged. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Simulator } from '../../test/simulator/start.ts';
import type { BootedRoot } from './booted-root.ts';
import { say, seconds, UNIT } from './first-hour.ts';
import { SLOW_GUEST, SLOW_SHUTDOWN_MS } from './standing-node.ts';

const JOURNAL = '/var/lib/pve-reconciler/journal';
const KEPT = ['/var/lib/pve-reconciler', '/etc/pve-reconciler', '/var/log/pve-reconciler'];

interface Op {
  readonly state: string;
  readonly attempt: number;
}

function slowStop(root: BootedRoot): Op {
  const listed = root.run('pve-reconciler', 'ops', 'list', '--guest', String(SLOW_GUEST), '--json');
  const { ops }: { ops: readonly (Op & { readonly kind: string })[] } = JSON.parse(listed);
  const found = ops.find(({ kind }) => kind === 'stop');
  assert(found !== undefined, 'the op is in the journal');
  return found;
}

/** A shutdown that takes longer than the upgrade: asked for once, ended well, no attempt charged. */
export async function tryUpgrade(root: BootedRoot, pve: Simulator, file: string): Promise<void> {
  await pve.resetRequests();
  const before = root.property(UNIT, 'MainPID');
  root.run(
    'pve-reconciler',
    'guest',
    'stop',
    String(SLOW_GUEST),
    '--hold',
    '1h',
    '--timeout',
    '2m',
  );
  await root.until('PVE works on it', () => slowStop(root).state === 'task_running');
  const began = performance.now();
  root.install(file);
  const tookMs = performance.now() - began;
  assert.notEqual(root.property(UNIT, 'MainPID'), before, 'the new one runs');
  assert.equal(root.property(UNIT, 'ActiveState'), 'active');
  await root.until('the op ends', () => slowStop(root).state === 'succeeded', 2 * SLOW_SHUTDOWN_MS);
  assert.equal(slowStop(root).attempt, 1);
  const path = new RegExp(`/qemu/${SLOW_GUEST}/status/`);
  const asked = (await pve.requests()).filter(
    (each) => each.method === 'POST' && path.test(each.path),
  );
  assert.equal(asked.length, 1, 'PVE was asked once');
  root.run('pve-reconciler', 'journal', 'verify');
  say(`upgraded in ${seconds(tookMs)} with an op in flight: asked for once, ended well`);
}

export function tryDowngrade(root: BootedRoot, file: string): void {
  const said = root.install(file);
  assert.match(said, /warning: downgrading/);
  assert.equal(root.property(UNIT, 'ActiveState'), 'active');
  root.run('pve-reconciler', 'journal', 'verify');
  say('downgraded: it runs on with the same journal');
}

/** The first line with another format, and the sum that is right for it (docs/JOURNAL.md). */
function ofFormat2(segment: string): string {
  const [header = '', ...rest] = segment.split('\n');
  const { prev_sum: before }: { prev_sum: string } = JSON.parse(header);
  const body = header.replace(/,"sum":"\w+"\}$/, '').replace('"format":1', '"format":2');
  const sum = createHash('sha256').update(`${before}${body}`).digest('hex').slice(0, 32);
  return [`${body},"sum":"${sum}"}`, ...rest].join('\n');
}

/** What a version to come may write is refused, named, and left as it is. */
export async function tryUnknownFormat(root: BootedRoot): Promise<void> {
  root.run('systemctl', 'stop', UNIT);
  const [newest] = readdirSync(root.at(JOURNAL))
    .filter((name) => name.endsWith('.jsonl'))
    .sort()
    .reverse();
  assert(newest !== undefined);
  const path = root.at(join(JOURNAL, newest));
  const text = readFileSync(path, 'utf8');
  const foreign = ofFormat2(text);
  writeFileSync(path, foreign);
  assert.notEqual(root.ended('systemctl', 'start', UNIT).exit, 0);
  assert.equal(root.property(UNIT, 'ExecMainStatus'), '70');
  root.run('systemctl', 'stop', UNIT);
  assert.match(root.run('journalctl', '-b', '-u', UNIT, '-o', 'cat'), /format 2/);
  assert.equal(readFileSync(path, 'utf8'), foreign, 'nothing was changed');
  writeFileSync(path, text);
  root.run('systemctl', 'start', UNIT);
  say('a journal of a format to come: 70, its format named, not a byte changed');
}

export function tryRemoval(root: BootedRoot, file: string): void {
  root.run('dpkg', '--remove', 'pve-reconciler');
  assert(existsSync(root.at(JOURNAL)) && !existsSync(root.at('/usr/bin/pve-reconciler')));
  assert.equal(root.property(UNIT, 'ActiveState'), 'inactive');
  root.install(file);
  assert.equal(root.run('systemctl', 'is-enabled', UNIT).trim(), 'enabled');
  root.run('systemctl', 'start', UNIT);
  root.run('pve-reconciler', 'journal', 'verify');
  say('removed, and back again with its journal and its configuration');
  root.run('systemctl', 'disable', '--now', UNIT);
  root.install(file);
  assert.equal(root.ended('systemctl', 'is-enabled', UNIT).said.trim(), 'disabled');
  assert.equal(root.property(UNIT, 'ActiveState'), 'inactive');
  say('what an administrator has disabled stays so over an upgrade');
  const removed = root.run('pve-reconciler', 'setup', '--remove');
  assert.match(removed, /pveum user delete pve-reconciler@pve/);
  root.run('dpkg', '--purge', 'pve-reconciler');
  for (const path of [...KEPT, '/run/pve-reconciler', '/usr/lib/pve-reconciler']) {
    assert(root.ended('test', '-e', path).exit !== 0, `${path} is gone`);
  }
  const links = root.run('find', '/etc/systemd', '-name', 'pve-reconciler*.service');
  assert.equal(links, '', 'no unit is linked to any more');
  assert.equal(root.run('systemctl', '--failed', '--quiet'), '');
  say('purged: nothing is left');
}
