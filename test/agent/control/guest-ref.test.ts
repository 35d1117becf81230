import { describe, expect, test } from 'vitest';
import { type Nameable, resolveRef } from '../../../src/agent/control/guest-ref.ts';
import { type Problem, ReconcilerError } from '../../../src/reconcile/errors.ts';
import { parseVmid } from '../../../src/reconcile/ids.ts';

function guest(number: number, name: string | null): Nameable {
  const vmid = parseVmid(number);
  if (vmid === null) throw new Error('not a vmid');
  return { vmid, name };
}

const GUESTS = [
  guest(101, 'web'),
  guest(102, 'web-2'),
  guest(103, 'db'),
  guest(104, '103'),
  guest(1010, null),
  guest(3050, null),
  guest(201, 'twin'),
  guest(202, 'twin'),
];

function find(ref: string, unseen: Problem | null = null): number | string {
  try {
    return resolveRef(ref, GUESTS, unseen);
  } catch (error) {
    return error instanceof ReconcilerError ? error.message : String(error);
  }
}

describe('a ref names', () => {
  test.each([
    ['a vmid before any name', '103', 103],
    ['a whole vmid before a longer one', '101', 101],
    ['an exact name before a longer one', 'web', 101],
    ['the one name that begins so', 'd', 103],
    ['the one vmid that begins so', '1010', 1010],
    [
      'nothing, by a whole vmid that only begins a longer one',
      '305',
      'not_found: no guest is called "305"',
    ],
    ['the one vmid that begins with less than a vmid', '30', 3050],
    ['nothing', 'mail', 'not_found: no guest is called "mail"'],
    ['nothing, by the empty text', '', 'not_found: no guest is called ""'],
    ['several by prefix', 'we', 'ambiguous_ref: "we" could be 101 (web), 102 (web-2)'],
    ['several by the same name', 'twin', 'ambiguous_ref: "twin" could be 201 (twin), 202 (twin)'],
  ])('%s', (_name, ref, found) => {
    expect(find(ref)).toBe(found);
  });
});

test.each<[code: Problem['code'], ends: string]>([
  ['unauthorized', 'unauthorized: guest "mail" is not known: no such token'],
  // That PVE does not know the node says nothing of a guest.
  ['not_found', 'service_unavailable: guest "mail" is not known: no such token'],
])('where not all could be seen (%s), what is not known may be there', (code, message) => {
  const unseen = { code, message: 'no such token' };
  expect(find('mail', unseen)).toBe(message);
  expect(find('web', unseen)).toBe(101);
});
