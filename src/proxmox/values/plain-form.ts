/**
 * A config value as a person would write it: without what PVE fills in by itself (a MAC, a uuid),
 * and nothing at all for a key that nobody writes by hand. Pure; what is left satisfies the value
 * it was made from (`satisfies`).
 */
import { HOLD_TAG } from '../../reconcile/guards.ts';
import type { GuestKind } from '../../reconcile/guest.ts';
import { splitList } from './format-checks.ts';
import { findOption, type Option } from './options.ts';
import { isWriteOnlyKey, leftToPve } from './value-pattern.ts';
import { volumeProperty } from './volumes.ts';

/** Made by PVE, or said elsewhere (a name is a guard, a lock is for a moment), or fixed at birth. */
const NOT_BY_HAND = new Set(
  (
    'digest meta vmgenid lock template parent snaptime vmstate runningcpu runningmachine ' +
    'name hostname arch unprivileged'
  ).split(' '),
);

/** Written as it stands, a number keeps its text: not `1.50`, not `007`. */
const PLAIN_NUMBER = /^(?:0|[1-9]\d{0,14})(?:\.\d{0,6}[1-9])?$/;

export type PlainValue = string | number | boolean | readonly string[];

/** Null: not for a document. */
export function plainForm(kind: GuestKind, key: string, text: string): PlainValue | null {
  const option = findOption(kind, key);
  if (option === null || NOT_BY_HAND.has(key) || isWriteOnlyKey(kind, key)) return null;
  // What a disk is cannot be set back, so no document may change it.
  if (volumeProperty(kind, option.family) !== null) return null;
  if (key === 'tags') {
    const tags = splitList(text).filter((tag) => tag !== '' && tag !== HOLD_TAG);
    return tags.length === 0 ? null : tags;
  }
  const kept = option.format === null ? trimEnd(key, text) : withoutFilledIn(kind, option, text);
  if (kept.trim() === '') return null;
  if (option.facts.type === 'boolean' && /^[01]$/.test(kept)) return kept === '1';
  const isText = option.facts.type === 'string' && option.format === null;
  return !isText && PLAIN_NUMBER.test(kept) ? Number(kept) : kept;
}

/** A container's description always ends in a newline, whatever was written (PVE-FACTS 27). */
function trimEnd(key: string, text: string): string {
  return key === 'description' ? text.trimEnd() : text;
}

/** Part by part, so that the order and the spelling of the rest stay as they are. */
function withoutFilledIn(kind: GuestKind, option: Option, text: string): string {
  const names = leftToPve(kind, option);
  const parts = text.split(',').flatMap((part) => {
    const [name = ''] = part.split('=', 1);
    const property = option.format?.properties.get(name);
    if (!part.includes('=') || !names.has(property?.alias ?? name)) return [part];
    // `virtio=MAC` says the model too.
    return property?.keyAlias === undefined ? [] : [name];
  });
  return parts.join(',');
}
