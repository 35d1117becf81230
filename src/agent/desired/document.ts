/**
 * One file of desired state, from its bytes to its guests. Any error refuses the whole document
 * (CONTRACT 4); what to do with the refusal is the provider's business.
 */
import {
  type DesiredGuest,
  documentSchema,
  type RejectedDocument,
  readDocument,
} from '../../reconcile/desired.ts';
import {
  type Finding,
  findingText,
  type Place,
  parsePositioned,
  placeText,
} from '../config/positioned-yaml.ts';
import type { KeyPath } from '../config/schema-issue.ts';
import { readTextFile } from '../config/text-file.ts';

/** About 4,000 guests with 30 keys each; more go into more files. */
const DESIRED_MAX_BYTES = 4 * 1024 * 1024;

export type DesiredFile =
  | {
      readonly kind: 'valid';
      readonly guests: readonly DesiredGuest[];
      readonly placeOf: (path: KeyPath) => Place;
    }
  | {
      readonly kind: 'invalid';
      readonly findings: readonly Finding[];
      /** Nothing is known of its text: it could not be opened or read. */
      readonly isIoError?: boolean;
    };

export async function readDesiredFile(file: string): Promise<DesiredFile> {
  const read = await readTextFile(file, { maxBytes: DESIRED_MAX_BYTES });
  if (read.kind === 'unreadable') {
    const { message, line = 0, column = 0, isIoError = false } = read.problem;
    return { kind: 'invalid', findings: [{ file, line, column, path: '', message }], isIoError };
  }
  return readDesiredText(read.text, file);
}

/** The same of a text that is at hand; `file` is what findings name. */
export function readDesiredText(text: string, file: string): DesiredFile {
  const parsed = parsePositioned(text, { file, schema: documentSchema });
  if (parsed.kind === 'invalid') return parsed;
  return {
    kind: 'valid',
    guests: readDocument(parsed.value, file),
    placeOf: parsed.placeOf,
  };
}

/** The findings as one problem: the first in full, the others counted. */
export function documentProblem(findings: readonly Finding[]): RejectedDocument['problem'] {
  const [first] = findings;
  const text = first === undefined ? 'refused' : findingText(first);
  const more = findings.length - 1;
  return {
    code: 'desired_invalid',
    message: more > 0 ? `${text} (and ${more} more)` : text,
    ...(first === undefined ? {} : { place: placeText(first) }),
  };
}
