/** Cheap looks on a booted host: the mirroring unit, what it saves, and how soon a change is seen. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Simulator } from '../../test/simulator/start.ts';
import type { BootedRoot } from './booted-root.ts';
import { say, seconds, UNIT } from './first-hour.ts';
import { RUNNING_GUEST } from './standing-node.ts';

const LOOK_UNIT = 'pve-reconciler-look.service';
const MIRROR = '/run/pve-reconciler/look';
const QUIET_MS = 10_000;
const PASSES_MIN = 5;
const LISTS_PER_PASS = 3;
const CONFIG_MAX_MS = 5_000;
const END_MAX_MS = 2_000;

async function passes(): Promise<number> {
  const text = await (await fetch('http://127.0.0.1:8787/metrics')).text();
  const counts = [...text.matchAll(/^pve_reconciler_reconcile_total\{.*\} (\d+)$/gm)];
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}

interface Cost {
  readonly passes: number;
  readonly requests: number;
  /** Those of `requests` that read a config because it was due. */
  readonly configs: number;
}

async function costOfQuiet(pve: Simulator): Promise<Cost> {
  await pve.resetRequests();
  const before = await passes();
  await delay(QUIET_MS);
  const requests = await pve.requests();
  return {
    passes: (await passes()) - before,
    requests: requests.length,
    configs: requests.filter(({ path }) => /\/(?:config|pending)$/.test(path)).length,
  };
}

function looksInUse(root: BootedRoot): boolean {
  const { said } = root.ended('pve-reconciler', 'doctor');
  return /looks +cheap looks, by/.test(said);
}

export async function tryLooks(root: BootedRoot, pve: Simulator): Promise<void> {
  await root.until('the agent passes', async () => (await passes().catch(() => 0)) > 0);
  const dear = await costOfQuiet(pve);
  // A pass may have begun before the count, or have ended after it.
  assert(dear.requests - dear.configs <= LISTS_PER_PASS * (dear.passes + 1));
  say(
    `without cheap looks: ${dear.requests} requests in ${dear.passes} quiet passes, ${dear.configs} of them configs that were due`,
  );
  root.run('systemctl', 'enable', '--now', LOOK_UNIT);
  await root.until('cheap looks are in use', () => looksInUse(root));
  const listed = root.run(
    'stat',
    '-c',
    '%U:%G %a',
    MIRROR,
    `${MIRROR}/.vmlist`,
    `${MIRROR}/.version`,
  );
  assert.equal(
    listed,
    ['750', '640', '640', ''].map((mode) => mode && `root:pve-reconciler ${mode}`).join('\n'),
  );
  await delay(QUIET_MS / 2);
  const cheap = await costOfQuiet(pve);
  assert(cheap.passes >= PASSES_MIN, `${cheap.passes} passes`);
  assert.equal(cheap.requests, 0, 'a quiet pass asks nothing');
  say(`with cheap looks: ${cheap.requests} requests in ${cheap.passes} quiet passes`);
}

export async function tryChanges(root: BootedRoot, pve: Simulator): Promise<void> {
  const asked = async (path: string): Promise<number> => {
    await pve.resetRequests();
    const began = performance.now();
    if (path.endsWith('config')) {
      await pve.control('PATCH', `/guests/${RUNNING_GUEST}`, { set: { onboot: '1', cores: '7' } });
    } else await pve.control('PATCH', `/guests/${RUNNING_GUEST}`, { running: false });
    await pve.received({ path: `/qemu/${RUNNING_GUEST}/${path}$` });
    return performance.now() - began;
  };
  const configMs = await asked('config');
  assert(configMs < CONFIG_MAX_MS, `a changed config noticed after ${seconds(configMs)}`);
  await pve.settle();
  await delay(QUIET_MS / 2);
  const endMs = await asked('status/start');
  assert(endMs < END_MAX_MS, `a guest's end noticed after ${seconds(endMs)}`);
  await pve.settle();
  say(
    `a changed config is set right after ${seconds(configMs)}, a guest that ended is started after ${seconds(endMs)}`,
  );
}

/** Whichever of the two units begins first, both have their folder. */
export async function tryLookRestarts(root: BootedRoot): Promise<void> {
  root.run('systemctl', 'stop', LOOK_UNIT);
  await root.until('without the mirror the API is asked', () => !looksInUse(root));
  root.run('systemctl', 'stop', UNIT);
  root.run('systemctl', 'start', LOOK_UNIT);
  root.run('systemctl', 'start', UNIT);
  await root.until('cheap looks are in use again', () => looksInUse(root));
  assert.equal(root.property(LOOK_UNIT, 'NRestarts'), '0');
  say('the mirror comes and goes under a running agent, in any order');
}
