/** Our verdicts against those of PVE's own parser, and against what a real node took and gave. */
import { expect, test } from 'vitest';
import { hasDrift, isSameValue } from '../../../src/proxmox/values/same-value.ts';
import { refuseValue } from '../../../src/proxmox/values/validity.ts';
import { configText } from '../../../src/reconcile/desired.ts';
import { equalityRows, recordedWrites, roundtripRows, validityRows } from './vectors.ts';

test('two texts are equal exactly when PVE parses them to the same thing', () => {
  const wrong = equalityRows.filter(
    ({ kind, key, a, b, equal }) => isSameValue(kind, key, [a, b]) !== equal,
  );
  expect(wrong).toEqual([]);
});

test('equality does not depend on which text comes first', () => {
  const wrong = equalityRows.filter(
    ({ kind, key, a, b, equal }) => isSameValue(kind, key, [b, a]) !== equal,
  );
  expect(wrong).toEqual([]);
});

test('a value PVE accepts is never refused', () => {
  const refused = validityRows
    .filter(({ valid }) => valid)
    .map(({ kind, key, value }) => ({ key, value, why: refuseValue(kind, key, value) }))
    .filter(({ why }) => why !== null);
  expect(refused).toEqual([]);
});

test('a value PVE parsed, or took and gave back, is never refused', () => {
  const parsed = equalityRows.flatMap(({ kind, key, a, b }) =>
    [a, b].flatMap((value) => (value === null ? [] : [{ kind, key, value }])),
  );
  const taken = roundtripRows.map(({ kind, key, written }) => ({ kind, key, value: written }));
  const refused = [...parsed, ...taken].filter(
    ({ kind, key, value }) => refuseValue(kind, key, value) !== null,
  );
  expect(refused).toEqual([]);
});

test('a value PVE refuses is refused before it is sent', () => {
  const missed = validityRows.filter(
    ({ kind, key, value, valid }) => !valid && refuseValue(kind, key, value) === null,
  );
  expect(missed).toEqual([]);
});

test('what PVE gives back of a written value is no drift', () => {
  const drifting = roundtripRows.filter(({ kind, key, written, read }) =>
    hasDrift(kind, key, { written, read: configText(read) }),
  );
  expect(drifting).toEqual([]);
});

/** What PVE fills in (MACs, sizes, uuids, certificates) and a text names. */
function countLeftToPve(text: string | null): number {
  return text?.match(/(?:[0-9a-f]{2}:){5}|size=|uuid=|ms-cert=/gi)?.length ?? 0;
}

test('two values PVE tells apart are drift, but for what is left to PVE', () => {
  const quiet = equalityRows.filter(
    ({ kind, key, a, b, equal }) =>
      !equal && a !== null && b !== null && !hasDrift(kind, key, { written: a, read: b }),
  );
  // Each of these leaves out something that the other one has.
  expect(quiet.filter(({ a, b }) => countLeftToPve(a) >= countLeftToPve(b))).toEqual([]);
});

const writes = ['config_option_kinds', 'lxc_config', 'put_bad_params', 'post_config_async'].flatMap(
  recordedWrites,
);

test('what a real node took is never refused', () => {
  const taken = writes.filter(({ status }) => status === 200);
  expect(taken.length).toBeGreaterThan(150);
  expect(taken.filter(({ kind, key, value }) => refuseValue(kind, key, value) !== null)).toEqual(
    [],
  );
});

test('what a real node refused for its own sake is refused', () => {
  // A script that does not exist and a privilege that is missing are the node's to know.
  const refused = writes.filter(({ isBlamed, key }) => isBlamed && key !== 'hookscript');
  expect(refused.length).toBeGreaterThan(30);
  expect(refused.filter(({ kind, key, value }) => refuseValue(kind, key, value) === null)).toEqual(
    [],
  );
});

test('what a real node gave back of what it took is no drift', () => {
  const read = writes.filter(({ status, read }) => status === 200 && read !== undefined);
  expect(read.length).toBeGreaterThan(120);
  const drifting = read.filter(({ kind, key, value, read }) =>
    hasDrift(kind, key, { written: value, read: read ?? null }),
  );
  expect(drifting).toEqual([]);
});
