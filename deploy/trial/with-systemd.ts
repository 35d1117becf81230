/** The package on a booted host, from its first hour to its purge; each step stands on the last. */
import assert from 'node:assert/strict';
import { BootedRoot } from './booted-root.ts';
import { configure, FIRST_PLAN_MAX_MS, seconds, tryFirstHour, tryFolders } from './first-hour.ts';
import { tryDowngrade, tryRemoval, tryUnknownFormat, tryUpgrade } from './lifecycle.ts';
import { tryChanges, tryLookRestarts, tryLooks } from './looks.ts';
import { tryFullDisk, tryMisconfiguration, tryRevokedToken, tryWatchdog } from './service.ts';
import {
  OTHER_RUNNING_GUEST,
  putStandIns,
  sharedFolders,
  startStandingNode,
} from './standing-node.ts';

export async function tryWithSystemd(
  dir: string,
  { older, newer }: { readonly older: string; readonly newer: string },
): Promise<void> {
  const pve = await startStandingNode();
  try {
    const root = await BootedRoot.boot(dir, sharedFolders(pve));
    const tools = await putStandIns(root);
    try {
      const firstPlanMs = tryFirstHour(root, older);
      tryFolders(root);
      configure(root);
      await tryLooks(root, pve);
      await tryChanges(root, pve);
      await tryLookRestarts(root);
      await tryWatchdog(root);
      await tryMisconfiguration(root);
      await tryFullDisk(root, pve, OTHER_RUNNING_GUEST);
      await tryRevokedToken(root, pve);
      await tryUpgrade(root, pve, newer);
      tryDowngrade(root, older);
      await tryUnknownFormat(root);
      tryRemoval(root, older);
      assert(firstPlanMs < FIRST_PLAN_MAX_MS, `first plan after ${seconds(firstPlanMs)}`);
    } catch (error) {
      console.error(root.ended('journalctl', '-b', '-o', 'cat', '-n', '60').said);
      throw error;
    } finally {
      tools.stdin?.end();
      await root.halt();
    }
  } finally {
    await pve.stop();
  }
}
