/**
 * What is pending becomes current: when a guest stops or starts, or is written to while stopped.
 */
import type { Guest } from './guest.ts';

export function applyPending(guest: Guest): void {
  const { config } = guest;
  if (!config.hasPending) return;
  for (const key of config.pendingDeletes) config.current.delete(key);
  for (const [key, value] of config.pending) config.current.set(key, value);
  config.pendingDeletes.clear();
  config.pending.clear();
  config.touch();
}

/** Pending entries that say what is current already are dropped (PVE-FACTS 23). */
export function dropRedundantPending(guest: Guest): void {
  const { config } = guest;
  for (const [key, value] of config.pending) {
    if (config.current.get(key) === value) config.pending.delete(key);
  }
  for (const key of config.pendingDeletes) {
    if (!config.current.has(key)) config.pendingDeletes.delete(key);
  }
}
