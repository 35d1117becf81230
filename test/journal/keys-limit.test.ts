/** Idempotency keys are kept for as long as J6 asks, and there is a bound on how many. */
import { expect, test } from 'vitest';
import { KEYS_MAX, OpBook } from '../../src/journal/op-book.ts';
import type { SealedOp } from '../../src/journal/op-record.ts';
import { opId, opStory, START_MS } from '../support/journal-script.ts';

const HOUR_MS = 3_600_000;
/** The keys of opStory are good for an hour. */
const OVER_MS = START_MS + HOUR_MS + 120_001;

const [RECEIVED] = opStory(1, { origin: 'hub' });

/** The one record that is left of an op that never began. */
function ended(number: number): SealedOp {
  if (RECEIVED === undefined) throw new Error('a story has a beginning');
  return {
    ...RECEIVED,
    type: 'op',
    seq: number,
    at: new Date(START_MS).toISOString(),
    sum: '0'.repeat(32),
    op_id: opId(number),
    idemp_key: `key-${number}`,
    state: 'failed',
  };
}

test('beyond the bound a new key is refused until others are past their time', () => {
  const book = new OpBook();
  for (let number = 1; number <= KEYS_MAX; number++) book.restore([ended(number)]);
  const next = { ...ended(KEYS_MAX + 1), state: 'received' } as const;
  expect(book.refuse(next, START_MS)).toMatchObject({ rule: 'limit' });
  expect(book.refuse({ ...next, idemp_key: 'key-1' }, START_MS)).toMatchObject({ rule: 'J6' });
  // Nothing was written meanwhile, and no segment begun: asking is enough.
  expect(book.refuse(next, OVER_MS)).toBeNull();
  expect(book.findKey('key-1', START_MS)).toBeNull();
});
