/**
 * The text of a desired-state document with guests added: a new one, or one that is extended, with
 * its comments and its order kept. JSON stays JSON. Pure.
 *
 * Invariant: a guest that was there before reads as it did. A number stands there as it was
 * written, because its text is its value (007, 1.10, 0x1f), and what came out is read again.
 */
import { isDeepStrictEqual } from 'node:util';
import { type Document, isMap, isSeq, type Pair, parseDocument, type Tags } from 'yaml';
import { ReconcilerError } from '../../reconcile/errors.ts';
import { toPlain } from '../config/yaml-values.ts';
import { type DesiredFile, readDesiredText } from '../desired/document.ts';
import type { AdoptedGuest } from './adopted-guest.ts';

/** Long values are not folded: a person searches for them as they are. */
const PRINTED = { lineWidth: 0, blockQuote: 'literal' } as const;
const NEW_DOCUMENT = 'version: 1\nguests: {}\n';
const NUMBER_TAG = /^tag:yaml\.org,2002:(?:int|float)$/;

/** `text` is a valid document, or null for a new one. Throws `desired_invalid`. */
export function extendDocument(
  text: string | null,
  adopted: readonly AdoptedGuest[],
  { isJson }: { readonly isJson: boolean },
): string {
  const document = parseDocument(text ?? NEW_DOCUMENT, {
    version: '1.2',
    customTags: (tags) => tags.map(keepNumberText),
  });
  const guests = document.get('guests', true);
  if (!isMap(guests)) throw new ReconcilerError('desired_invalid', 'the document has no `guests`');
  for (const { vmid, entry } of adopted) {
    const pair = document.createPair(Number(vmid), entry);
    inline(pair);
    guests.items.push(pair);
  }
  // `guests: {}` and the like: one guest on a line is for nobody.
  if (guests.flow === true) guests.flow = false;
  const extended = isJson ? jsonText(document) : document.toString(PRINTED);
  if (text !== null) assertUnchanged(text, extended);
  return extended;
}

/** The library would print the number that it read, not what stood there. */
function keepNumberText(tag: Tags[number]): Tags[number] {
  if (typeof tag === 'string' || tag.collection !== undefined) return tag;
  const { stringify } = tag;
  if (stringify === undefined || !NUMBER_TAG.test(tag.tag)) return tag;
  return { ...tag, stringify: (item, ...rest) => item.source ?? stringify(item, ...rest) };
}

function jsonText(document: Document.Parsed): string {
  return `${JSON.stringify(toPlain(document, []), null, 2)}\n`;
}

function assertUnchanged(before: string, after: string): void {
  const was = readDesiredText(before, '');
  const is = readDesiredText(after, '');
  const changed = firstChanged(was, is);
  if (changed === null) return;
  const message = `${changed} would read differently once guests are added to this document`;
  const hint = 'nothing was changed: let adopt write a new file';
  throw new ReconcilerError('desired_invalid', message, { hint });
}

function firstChanged(was: DesiredFile, is: DesiredFile): string | null {
  if (was.kind === 'invalid' || is.kind === 'invalid') return 'the whole';
  const after = new Map(is.guests.map((guest) => [guest.vmid, guest]));
  const changed = was.guests.find((guest) => !isDeepStrictEqual(guest, after.get(guest.vmid)));
  return changed === undefined ? null : `guest ${changed.vmid}`;
}

/** The list of tags on one line: `[prod, web]`. */
function inline({ value }: Pair): void {
  const tags = isMap(value) ? value.getIn(['config', 'tags'], true) : undefined;
  if (isSeq(tags)) tags.flow = true;
}
