/**
 * The text of a desired-state document with guests added: a new one, or one that is extended, with
 * its comments and its order kept. JSON stays JSON. Pure.
 */
import { isMap, isSeq, type Pair, parseDocument } from 'yaml';
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { AdoptedGuest } from './adopted-guest.ts';

/** Long values are not folded: a person searches for them as they are. */
const PRINTED = { lineWidth: 0, blockQuote: 'literal' } as const;
const NEW_DOCUMENT = 'version: 1\nguests: {}\n';

/** `text` is a valid document, or null for a new one. */
export function extendDocument(
  text: string | null,
  adopted: readonly AdoptedGuest[],
  { isJson }: { readonly isJson: boolean },
): string {
  const document = parseDocument(text ?? NEW_DOCUMENT, { version: '1.2' });
  const guests = document.get('guests', true);
  if (!isMap(guests)) throw new ReconcilerError('desired_invalid', 'the document has no `guests`');
  for (const { vmid, entry } of adopted) {
    const pair = document.createPair(Number(vmid), entry);
    inline(pair);
    guests.items.push(pair);
  }
  if (isJson) return `${JSON.stringify(document.toJS(), null, 2)}\n`;
  // `guests: {}` and the like: one guest on a line is for nobody.
  if (guests.flow === true) guests.flow = false;
  return document.toString(PRINTED);
}

/** The list of tags on one line: `[prod, web]`. */
function inline({ value }: Pair): void {
  const tags = isMap(value) ? value.getIn(['config', 'tags'], true) : undefined;
  if (isSeq(tags)) tags.flow = true;
}
