/** From rows of PVE's answers to guests and configs as the core knows them. Pure. */
import type * as z from 'zod';
import {
  type ConfigLook,
  type Guest,
  type GuestConfig,
  type GuestKind,
  type PendingChange,
  splitTags,
} from '../reconcile/guest.ts';
import type { GuestRow, pendingRows } from './answers.ts';
import { readGuestHa } from './ha.ts';

const DIGEST = /^[0-9a-f]{40}$/;

export function readGuest(kind: GuestKind, row: GuestRow, nowMs: number): Guest {
  return {
    vmid: row.vmid,
    kind,
    name: row.name === '' ? null : row.name,
    power: row.status,
    qmpStatus: row.qmpstatus ?? null,
    template: row.template ?? false,
    lock: row.lock === '' ? null : row.lock,
    tags: splitTags(row.tags),
    bootedAtMs: row.status === 'running' ? nowMs - (row.uptime ?? 0) * 1000 : null,
    pid: (row.status === 'running' ? row.pid : undefined) ?? null,
    ha: readGuestHa(row),
    config: { kind: 'not_read' },
  };
}

/** `/pending` holds all three: what is in force, what waits, and the digest (PVE-FACTS 23). */
export function readConfig(rows: z.output<typeof pendingRows>, nowMs: number): ConfigLook {
  const current = new Map<string, string>();
  const pending = new Map<string, PendingChange>();
  let digest = '';
  for (const row of rows) {
    if (row.key === 'digest') {
      digest = row.value ?? '';
      continue;
    }
    if (row.value !== undefined) current.set(row.key, row.value);
    // LXC may say both: the new value is what it will be.
    if (row.pending !== undefined) pending.set(row.key, { kind: 'set', value: row.pending });
    else if (row.delete !== undefined && row.delete !== 0) pending.set(row.key, { kind: 'delete' });
  }
  if (!DIGEST.test(digest)) {
    const message = 'unexpected answer: the pending config has no digest';
    return { kind: 'unknown', problem: { code: 'service_unavailable', message } };
  }
  const config: GuestConfig = { digest, current, pending, readAtMs: nowMs };
  return { kind: 'known', config };
}
