/**
 * A command that root runs acts as the account the state folder belongs to: it sees what the agent
 * sees, and leaves no file of root's behind that would keep the agent from starting. Who reads that
 * it may not read something is told as whom it asked.
 */
import { statSync } from 'node:fs';
import { sep } from 'node:path';
import { AGENT_ACCOUNT } from '../setup/names.ts';

/** As whom we act, as long as that is not who called. Of the whole process, as its uid is. */
let acting: { readonly uid: number; readonly stateDir: string } | null = null;

/** Nothing is done where there is nothing to do. */
export function actAsOwner(stateDir: string): void {
  const owner = statSync(stateDir, { throwIfNoEntry: false });
  if (process.geteuid?.() !== 0 || owner === undefined || owner.uid === 0) return;
  process.setgroups?.([owner.gid]);
  process.setegid?.(owner.gid);
  process.seteuid?.(owner.uid);
  acting = { uid: owner.uid, stateDir };
}

/** Back to who called: to write what is root's. */
export function actAsCaller(): void {
  const uid = process.getuid?.();
  if (uid === undefined || uid === process.geteuid?.()) return;
  process.seteuid?.(uid);
  process.setegid?.(process.getgid?.() ?? 0);
  acting = null;
}

/** Follows *permission denied*; empty where we act as who called. */
export function asWhom(): string {
  return acting === null ? '' : ` (acting as uid ${acting.uid}, the owner of ${acting.stateDir})`;
}

/** What lets us have a file. */
export function permissionHint(path: string): string {
  if (acting === null) return 'run it as root, or as the user whose files these are';
  const { uid, stateDir } = acting;
  if (path.startsWith(stateDir + sep)) return `chown -R --reference=${stateDir} ${stateDir}`;
  const others = `if it is not, \`chown -R ${AGENT_ACCOUNT}: ${stateDir}\``;
  return (
    `if uid ${uid} is the agent's account, let it read ${path} and pass through the folders above; ` +
    others
  );
}

/** Acting as its owner, we were refused what somebody else owns in the state folder. */
export function isForeign(path: string): boolean {
  if (acting === null || !path.startsWith(acting.stateDir + sep)) return false;
  try {
    return statSync(path, { throwIfNoEntry: false })?.uid !== acting.uid;
  } catch {
    return true; // in a folder that is closed to us
  }
}
