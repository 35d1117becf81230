import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { adoptGuest } from '../../../src/agent/adopt/adopted-guest.ts';
import { extendDocument } from '../../../src/agent/adopt/document-text.ts';
import { pendingRows } from '../../../src/proxmox/answers.ts';
import { readConfig } from '../../../src/proxmox/guest-values.ts';
import { createValueSemantics } from '../../../src/proxmox/values/same-value.ts';
import { documentSchema, readDocument } from '../../../src/reconcile/desired.ts';
import type { Guest, GuestConfig } from '../../../src/reconcile/guest.ts';
import { parseVmid } from '../../../src/reconcile/ids.ts';
import { planGuests } from '../../../src/reconcile/planner.ts';
import { readSteps } from '../../proxmox/transcripts.ts';
import { actualState, desiredState, planContext, QUIET_NODE } from '../../reconcile/plan-inputs.ts';

const semantics = createValueSemantics();

interface Recorded {
  readonly where: string;
  readonly guest: Guest;
  readonly config: GuestConfig;
}

/** Every config a real node ever showed us, as that of a running guest and of one that is off. */
function recordedConfigs(): Recorded[] {
  const found: Recorded[] = [];
  for (const { transcript, method, path, status, body } of readSteps()) {
    const [, kind, id, view] = /\/(qemu|lxc)\/(\d+)\/(config|pending)$/.exec(path) ?? [];
    if (method !== 'GET' || status !== 200 || view === undefined) continue;
    const config = configOf(view, (body as { data: unknown }).data);
    const vmid = parseVmid(id);
    if (vmid === null || config === null) continue;
    for (const power of ['running', 'stopped'] as const) {
      const guest = guestOf({ vmid, kind: kind === 'lxc' ? 'lxc' : 'qemu', power }, config);
      found.push({ where: `${transcript} ${kind} ${id} ${view} ${power}`, guest, config });
    }
  }
  return found;
}

/** What a real node gave back after each option was written, each as the config of a guest. */
function recordedValues(): Recorded[] {
  const file = join(import.meta.dirname, '../../fixtures/vectors/roundtrip.jsonl');
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  return lines.flatMap((line) => {
    const { kind, key, read } = JSON.parse(line) as Roundtrip;
    const config = read === null ? null : configOf('config', { digest: DIGEST, [key]: read });
    const vmid = parseVmid(100);
    if (vmid === null || config === null) return [];
    const guest = guestOf({ vmid, kind, power: 'running' }, config);
    return [{ where: `${kind} ${key}: ${read}`, guest, config }];
  });
}

const DIGEST = '0'.repeat(40);

interface Roundtrip {
  readonly kind: Guest['kind'];
  readonly key: string;
  readonly read: string | number | null;
}

function configOf(view: string, data: unknown): GuestConfig | null {
  const rows =
    view === 'pending'
      ? data
      : Object.entries(data as object).map(([key, value]) => ({ key, value: String(value) }));
  const look = readConfig(pendingRows.parse(rows), 0);
  return look.kind === 'known' ? look.config : null;
}

/** As the lists would show it beside this config. */
function guestOf(known: Pick<Guest, 'vmid' | 'kind' | 'power'>, { current }: GuestConfig): Guest {
  return {
    ...known,
    name: current.get('name') ?? current.get('hostname') ?? null,
    qmpStatus: null,
    template: current.get('template') === '1',
    lock: null,
    tags: [],
    bootedAtMs: null,
    pid: null,
    ha: { kind: 'not_read' },
    config: { kind: 'not_read' },
  };
}

const recorded = [...recordedConfigs(), ...recordedValues()];

test('every guest of the recordings, adopted, has an empty plan: nothing to do, nothing to say', () => {
  expect(recorded.length).toBeGreaterThan(480);
  const context = planContext({ semantics });
  for (const { where, guest, config } of recorded) {
    const adopted = adoptGuest(guest, config, { semantics, isObserved: false });
    for (const isJson of [false, true]) {
      const text = extendDocument(null, [adopted], { isJson });
      const [wanted] = readDocument(documentSchema.parse(parse(text)), 'test');
      expect(wanted, where).toBeDefined();
      if (wanted === undefined) continue;
      const seen: Guest = { ...guest, config: { kind: 'known', config } };
      const [entry] = planGuests(
        desiredState(wanted),
        actualState(seen),
        QUIET_NODE,
        context,
      ).entries;
      expect(entry, `${where}\n${text}`).toMatchObject({ changes: [], actions: [] });
      expect(entry?.conditions, where).toEqual([]);
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
  const reasons = new Map<string, string>();
  for (const { guest, config } of recorded) {
    const { leftOut, entry } = adoptGuest(guest, config, { semantics, isObserved: false });
    for (const { key, why } of leftOut) {
      expect(Object.keys(entry.config ?? {})).not.toContain(key);
      reasons.set(why, key);
    }
  }
  expect([...reasons.keys()]).toEqual([
    'a change of it waits for the next start',
    'it cannot be said by hand',
  ]);
  // Blanks at the end of a container's: nobody means them.
  expect(reasons.get('it cannot be said by hand')).toBe('description');
});

test('the tags of a guest on hold are adopted without the one that holds it', () => {
  const vmid = parseVmid(100);
  const config = configOf('config', { digest: DIGEST, tags: 'prod;reconcile-hold;web' });
  if (vmid === null || config === null) throw new Error('no such guest');
  for (const power of ['running', 'stopped'] as const) {
    const guest = guestOf({ vmid, kind: 'qemu', power }, config);
    const { entry, leftOut } = adoptGuest(guest, config, { semantics, isObserved: false });
    expect(entry.config).toEqual({ tags: ['prod', 'web'] });
    expect(leftOut).toEqual([]);
  }
});
