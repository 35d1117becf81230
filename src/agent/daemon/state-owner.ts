/**
 * A command that root runs acts as the account the state folder belongs to: it sees what the agent
 * sees, and leaves no file of root's behind that would keep the agent from starting.
 */
import { statSync } from 'node:fs';

/** Nothing is done where there is nothing to do. */
export function actAsOwner(stateDir: string): void {
  const owner = statSync(stateDir, { throwIfNoEntry: false });
  if (process.geteuid?.() !== 0 || owner === undefined || owner.uid === 0) return;
  process.setgroups?.([owner.gid]);
  process.setegid?.(owner.gid);
  process.seteuid?.(owner.uid);
}

/** Back to who called: to write what is root's. */
export function actAsCaller(): void {
  const uid = process.getuid?.();
  if (uid === undefined || uid === process.geteuid?.()) return;
  process.seteuid?.(uid);
  process.setegid?.(process.getgid?.() ?? 0);
}
