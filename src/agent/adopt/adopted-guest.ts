/**
 * What is there, as the entry of a document that a person could have written. Pure. A plan right
 * after it is empty: each value is checked to mean what the guest has, else it is left out.
 */
import { plainForm } from '../../proxmox/values/plain-form.ts';
import { configText } from '../../reconcile/desired.ts';
import { HOLD_TAG } from '../../reconcile/guards.ts';
import { type Guest, type GuestConfig, splitTags } from '../../reconcile/guest.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import type { ValueSemantics } from '../../reconcile/ports.ts';

type EntryValue = string | number | boolean | readonly string[];

/** In the order in which it is written. */
export interface AdoptedEntry {
  readonly kind: Guest['kind'];
  readonly name?: string;
  readonly power?: Guest['power'];
  readonly mode?: 'observe';
  readonly config?: Readonly<Record<string, EntryValue>>;
}

export interface LeftOut {
  readonly vmid: Vmid;
  readonly key: string;
  readonly why: string;
}

export interface AdoptedGuest {
  readonly vmid: Vmid;
  readonly entry: AdoptedEntry;
  readonly leftOut: readonly LeftOut[];
}

export interface AdoptOptions {
  readonly semantics: ValueSemantics;
  /** Entries that change nothing until somebody takes the line out. */
  readonly isObserved: boolean;
}

/** `config`: as just read. A template's power is nobody's wish. */
export function adoptGuest(
  guest: Guest,
  config: GuestConfig,
  { semantics, isObserved }: AdoptOptions,
): AdoptedGuest {
  const { vmid, kind, name, power, template } = guest;
  const values: Record<string, EntryValue> = {};
  const leftOut: LeftOut[] = [];
  for (const key of sortedKeys(config)) {
    const actual = valueInForce(guest, config, key);
    if (actual.kind === 'none') continue;
    if (actual.kind === 'unsettled') {
      leftOut.push({ vmid, key, why: 'a change of it waits for the next start' });
      continue;
    }
    const value = plainForm(kind, key, actual.text);
    if (value === null) continue;
    const why = objection(semantics, { guest, key, value, actual: actual.text });
    if (why === null) values[key] = value;
    else leftOut.push({ vmid, key, why });
  }
  const entry: AdoptedEntry = {
    kind,
    ...(name === null ? {} : { name }),
    ...(template ? {} : { power }),
    ...(isObserved ? { mode: 'observe' } : {}),
    ...(Object.keys(values).length === 0 ? {} : { config: values }),
  };
  return { vmid, entry, leftOut };
}

function sortedKeys({ current, pending }: GuestConfig): readonly string[] {
  return [...new Set([...current.keys(), ...pending.keys()])].sort();
}

type InForce =
  | { readonly kind: 'value'; readonly text: string }
  | { readonly kind: 'none' }
  | { readonly kind: 'unsettled' };

/** A guest that is off takes what is pending when it starts: that is what it has. */
function valueInForce({ power }: Guest, { current, pending }: GuestConfig, key: string): InForce {
  const change = pending.get(key);
  if (change !== undefined && power === 'running') return { kind: 'unsettled' };
  const text =
    change === undefined ? current.get(key) : change.kind === 'set' ? change.value : null;
  return text === undefined || text === null ? { kind: 'none' } : { kind: 'value', text };
}

function objection(
  semantics: ValueSemantics,
  {
    guest: { kind },
    key,
    value,
    actual,
  }: {
    readonly guest: Guest;
    readonly key: string;
    readonly value: EntryValue;
    readonly actual: string;
  },
): string | null {
  const desired = configText(typeof value === 'object' ? [...value] : value) ?? '';
  const meant = key === 'tags' ? withoutHoldTag(actual) : actual;
  if (!semantics.isSatisfied({ kind, key, desired, actual: meant })) {
    return 'it cannot be said by hand';
  }
  return semantics.refusal(kind, key, desired);
}

/** It belongs to whoever put it there, and is no drift. */
function withoutHoldTag(tags: string): string {
  return splitTags(tags)
    .filter((tag) => tag !== HOLD_TAG)
    .join(';');
}
