/**
 * Writes a script from a seed. Each seed takes only some families of events: a world with
 * everything in it hides what two faults alone would show.
 */
import type { GuestSetup } from '../support/model/node.ts';
import { Dice } from './dice.ts';
import { writeBehaviour, writeWish } from './draws.ts';
import { addExtras } from './extras.ts';
import { FAMILIES, type Family } from './families.ts';
import type { Script, SimEvent } from './script.ts';

const FIRST_VMID = 101;

export function writeScript(seed: number): Script {
  return addExtras(writePlainScript(seed));
}

function writePlainScript(seed: number): Script {
  const dice = new Dice(seed);
  const guests = Array.from({ length: dice.whole(1, 5) }, (_, index) => ({
    vmid: FIRST_VMID + index,
    setup: writeGuest(dice),
  }));
  const wishes = guests
    .filter(() => dice.chance(0.8))
    .map(({ vmid }) => ({ vmid, wish: writeWish(dice) }));
  const calmAtMs = dice.whole(4, 16) * 60_000;
  const families = FAMILIES.filter(({ share }) => dice.chance(share));
  const events: SimEvent[] = [];
  for (const family of families) {
    const count = dice.whole(1, family.most);
    for (let index = 0; index < count; index++) {
      const atMs = dice.whole(0, calmAtMs - 1_000);
      const vmid = FIRST_VMID + dice.whole(0, guests.length - 1);
      const isHa = guests[vmid - FIRST_VMID]?.setup.ha !== undefined;
      events.push(...writeEvents(family, { dice, atMs, vmid, isHa, index }));
    }
  }
  return {
    seed,
    guests,
    wishes,
    segmentBytes: dice.pick([4_096, 16_384, 1_048_576]),
    keepSegments: dice.pick([2, 1_000]),
    maxParallel: dice.whole(1, 4),
    events: events.sort((a, b) => a.atMs - b.atMs),
    calmAtMs,
  };
}

function writeEvents(family: Family, place: Parameters<Family['write']>[0]): SimEvent[] {
  const events = family.write(place);
  return (Array.isArray(events) ? events : [events]).map((event) => ({
    ...event,
    atMs: place.atMs + (event.laterMs ?? 0),
  }));
}

function writeGuest(dice: Dice): GuestSetup {
  const running = dice.chance(0.5);
  const isHa = dice.chance(0.15);
  return {
    kind: dice.chance(0.7) ? 'qemu' : 'lxc',
    running,
    ...(isHa ? { ha: running ? 'started' : 'stopped' } : {}),
    config: { cores: '2', description: 'as it was' },
    behaviour: writeBehaviour(dice),
  };
}
