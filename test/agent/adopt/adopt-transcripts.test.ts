import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { adoptGuest } from '../../../src/agent/adopt/adopted-guest.ts';
import { extendDocument } from '../../../src/agent/adopt/document-text.ts';
import { pendingRows } from '../../../src/proxmox/answers.ts';
import { readConfig } from '../../../src/proxmox/guest-values.ts';
import { createValueSemantics } from '../../../src/proxmox/values/same-value.ts';
import { documentSchema, readDocument } from '../../../src/reconcile/desired.ts';
import { diffConfig } from '../../../src/reconcile/diff.ts';
import type { Guest, GuestConfig } from '../../../src/reconcile/guest.ts';
import { parseVmid } from '../../../src/reconcile/ids.ts';
import { readSteps } from '../../proxmox/transcripts.ts';

const semantics = createValueSemantics();
const policy = {
  unsigned: 'disruptive',
  operator: 'disruptive',
  irreversibleSignatures: 2,
} as const;

interface Recorded {
  readonly where: string;
  readonly guest: Guest;
  readonly config: GuestConfig;
}

/** Every config a real node ever showed us, as that of a running guest and of one that is off. */
function recordedConfigs(): Recorded[] {
  const found: Recorded[] = [];
  for (const { transcript, method, path, status, query, body } of readSteps()) {
    const [, kind, id, view] = /\/(qemu|lxc)\/(\d+)\/(config|pending)$/.exec(path) ?? [];
    if (method !== 'GET' || status !== 200 || view === undefined) continue;
    if (view === 'config' && String(query['current']) !== '1') continue;
    const config = configOf(view, (body as { data: unknown }).data);
    const vmid = parseVmid(id);
    if (vmid === null || config === null) continue;
    for (const power of ['running', 'stopped'] as const) {
      const guest = guestOf({ vmid, kind: kind === 'lxc' ? 'lxc' : 'qemu', power });
      found.push({ where: `${transcript} ${kind} ${id} ${view} ${power}`, guest, config });
    }
  }
  return found;
}

function configOf(view: string, data: unknown): GuestConfig | null {
  const rows =
    view === 'pending'
      ? data
      : Object.entries(data as object).map(([key, value]) => ({ key, value: String(value) }));
  const look = readConfig(pendingRows.parse(rows), 0);
  return look.kind === 'known' ? look.config : null;
}

function guestOf(known: Pick<Guest, 'vmid' | 'kind' | 'power'>): Guest {
  return {
    ...known,
    name: null,
    qmpStatus: null,
    template: false,
    lock: null,
    tags: [],
    bootedAtMs: null,
    ha: { kind: 'not_read' },
    config: { kind: 'not_read' },
  };
}

const recorded = recordedConfigs();

test('every config of the recordings, adopted, differs in nothing from what it was made of', () => {
  expect(recorded.length).toBeGreaterThan(40);
  const context = { semantics, policy, isSecretApplied: () => false };
  for (const { where, guest, config } of recorded) {
    const adopted = adoptGuest(guest, config, { semantics, isObserved: false });
    for (const isJson of [false, true]) {
      const text = extendDocument(null, [adopted], { isJson });
      const [wanted] = readDocument(documentSchema.parse(parse(text)), 'test');
      expect(wanted, where).toBeDefined();
      if (wanted === undefined) continue;
      expect(diffConfig(wanted, guest, config, context).changes, `${where}\n${text}`).toEqual([]);
    }
  }
});

test('nothing that PVE makes up is written: no MAC, uuid, digest, volume, asterisks', () => {
  for (const { where, guest, config } of recorded) {
    const { entry } = adoptGuest(guest, config, { semantics, isObserved: false });
    const text = JSON.stringify(entry);
    expect(text, where).not.toMatch(/[0-9a-f]{2}(?::[0-9a-f]{2}){5}/i);
    expect(text, where).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/i);
    expect(text, where).not.toMatch(/"(?:unused\d+|meta|digest|vmgenid|lock)"|local:\d|\*\*\*/);
  }
});

test('keys are left out for a reason that is said, or not at all', () => {
  const reasons = new Set<string>();
  for (const { guest, config } of recorded) {
    const { leftOut, entry } = adoptGuest(guest, config, { semantics, isObserved: false });
    for (const { key, why } of leftOut) {
      expect(entry.config).not.toHaveProperty(key);
      reasons.add(why);
    }
  }
  expect([...reasons]).toEqual(['a change of it waits for the next start']);
});
