/** A script is its seed's, and has what a run is to show. */
import { expect, test } from 'vitest';
import { FAMILIES } from './families.ts';
import { writeScript } from './script.ts';

const SEEDS = Array.from({ length: 20 }, (_, index) => index + 1);

test('one seed writes one script, another another', () => {
  expect(writeScript(7, 60)).toEqual(writeScript(7, 60));
  expect(writeScript(7, 60).events).not.toEqual(writeScript(8, 60).events);
});

test('twenty minutes of scripts have every kind of event', () => {
  const events = SEEDS.flatMap((seed) => writeScript(seed, 60).events);
  const kinds = new Set<string>(events.map(({ kind }) => kind));
  expect(kinds.size).toBe(FAMILIES.length);
});

test('nobody has anything to do with a bystander', () => {
  for (const seed of SEEDS) {
    const { guests, wishes, events } = writeScript(seed, 60);
    const bystanders = guests.filter(({ role }) => role === 'bystander').map(({ vmid }) => vmid);
    expect(bystanders).toHaveLength(2);
    const touched = new Set(Object.keys(wishes).map(Number));
    for (const event of events) if ('vmid' in event) touched.add(event.vmid);
    expect(bystanders.filter((vmid) => touched.has(vmid))).toEqual([]);
  }
});
