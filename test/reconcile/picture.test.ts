import { describe, expect, it } from 'vitest';
import type { ActualState, Guest } from '../../src/reconcile/guest.ts';
import { createPicture, type DueRule } from '../../src/reconcile/picture.ts';
import {
  actualState,
  desiredState,
  guestConfig,
  seenGuest,
  upidOf,
  vmidOf,
  wantedGuest,
} from './plan-inputs.ts';

const NOT_READ = { kind: 'not_read' } as const;
const MINUTE_MS = 60_000;

function read(fields: Partial<Guest> = {}): Guest {
  return seenGuest({ config: { kind: 'known', config: guestConfig({ cores: '2' }) }, ...fields });
}

function listed(fields: Partial<Guest> = {}): Guest {
  return seenGuest({ config: NOT_READ, ...fields });
}

function configOf(picture: ReturnType<typeof createPicture>): string | undefined {
  return picture.actual.guests.get(vmidOf(101))?.config.kind;
}

describe('a guest that was seen by itself', () => {
  const VMID = vmidOf(101);
  const [UP, DOWN] = [listed({ power: 'running', bootedAtMs: 1 }), listed()];

  it.each([
    ['a look begun before that', 9, 'running'],
    ['a look begun after it', 11, 'stopped'],
  ])('and %s', (_what, beganMs, power) => {
    const picture = createPicture();
    picture.update(actualState(DOWN), 0);
    picture.remember(VMID, UP, 10);
    picture.update(actualState(DOWN), beganMs);
    expect(picture.actual.guests.get(VMID)?.power).toBe(power);
    picture.update(actualState(DOWN), 12);
    expect(picture.actual.guests.get(VMID)?.power).toBe('stopped');
  });

  it('is gone, and a look begun before that shows it', () => {
    const picture = createPicture();
    picture.update(actualState(UP), 0);
    picture.remember(VMID, null, 10);
    picture.update(actualState(UP), 9);
    expect(picture.actual.guests.has(VMID)).toBe(false);
  });

  it('has the config that was read last', () => {
    const picture = createPicture();
    const config = (cores: string): Guest['config'] => {
      return { kind: 'known', config: guestConfig({ cores }) };
    };
    picture.update(actualState(read()), 0);
    picture.remember(VMID, seenGuest({ config: config('4') }), 10);
    picture.remember(VMID, seenGuest({ config: config('1') }), 9);
    picture.update(actualState(seenGuest({ config: config('2') })), 8);
    const { config: kept } = picture.actual.guests.get(VMID) ?? {};
    expect(kept?.kind === 'known' && kept.config.current.get('cores')).toBe('4');
  });
});

describe('a config that was read', () => {
  it('stands beside the guest in later looks that do not read it', () => {
    const picture = createPicture();
    picture.update(actualState(read()), 0);
    picture.update(actualState(listed()), 1);
    expect(configOf(picture)).toBe('known');
  });

  it.each([
    ['its name', { name: 'db' }],
    ['its tags', { tags: ['prod'] }],
    ['its lock', { lock: 'backup' }],
    ['that it is a template', { template: true }],
  ])('is not believed any more when the list shows a change of %s', (_what, fields) => {
    const picture = createPicture();
    picture.update(actualState(read()), 0);
    picture.update(actualState(listed(fields)), 1);
    expect(configOf(picture)).toBe('not_read');
    const desired = desiredState(wantedGuest({ config: new Map([['cores', '2']]) }));
    expect(picture.unread(desired).map(({ vmid }) => vmid)).toEqual([101]);
    expect(picture.unread(desiredState(wantedGuest()))).toEqual([]);
  });

  it('outlives a start, unless something was pending that the start applied', () => {
    const plain = createPicture();
    plain.update(actualState(read()), 0);
    plain.remember(vmidOf(101), listed({ power: 'running' }), 1);
    expect(configOf(plain)).toBe('known');

    const pending = guestConfig({ cores: '2' }, { cores: { kind: 'set', value: '4' } });
    const held = createPicture();
    held.update(actualState(read({ config: { kind: 'known', config: pending } })), 0);
    held.remember(vmidOf(101), listed({ power: 'running' }), 1);
    expect(configOf(held)).toBe('not_read');
  });

  it('outlives a look that did not come', () => {
    const picture = createPicture();
    picture.update(actualState(read()), 0);
    const problem = { code: 'timeout', message: 'no answer' } as const;
    picture.update({ ...actualState(), qemu: { kind: 'unknown', problem } }, 1);
    picture.update(actualState(listed()), 2);
    expect(configOf(picture)).toBe('known');
  });

  it('is not believed any more once a task on the guest has ended, and then again', () => {
    const picture = createPicture();
    const ended = (...types: readonly string[]): ActualState => ({
      ...actualState(listed()),
      endedTasks: types.map((type) => ({ upid: upidOf(type, '101'), vmid: vmidOf(101) })),
    });
    picture.update({ ...ended('qmconfig'), guests: actualState(read()).guests }, 0);
    picture.update(ended('qmconfig'), 1);
    expect(configOf(picture)).toBe('known');
    picture.update(ended('qmsnapshot', 'qmconfig'), 2);
    expect(configOf(picture)).toBe('not_read');
    picture.remember(vmidOf(101), read(), 3);
    picture.update(ended(), 4);
    picture.update(ended('qmsnapshot', 'qmconfig'), 5);
    expect(configOf(picture)).toBe('known');
  });

  it('goes with its guest', () => {
    const picture = createPicture();
    picture.update(actualState(read()), 0);
    picture.update(actualState(), 1);
    picture.update(actualState(listed()), 2);
    expect(configOf(picture)).toBe('not_read');
  });
});

describe('the configs that are due', () => {
  const ids = Array.from({ length: 20 }, (_, index) => 101 + index);
  const desired = desiredState(
    ...ids.map((id) => wantedGuest({ vmid: vmidOf(id), config: new Map([['cores', '2']]) })),
  );
  const rule = (nowMs: number, isFull = false): DueRule => {
    return { nowMs, intervalMs: 0.5 * MINUTE_MS, configIntervalMs: 5 * MINUTE_MS, isFull };
  };
  const guests = (config: Guest['config'] = read().config): Guest[] =>
    ids.map((id) => seenGuest({ vmid: vmidOf(id), config }));

  it('are all of them at first, and in a full look', () => {
    const picture = createPicture();
    expect(picture.configsDue(desired, rule(0)).size).toBe(20);
    picture.update(actualState(...guests()), 0);
    expect(picture.configsDue(desired, rule(1)).size).toBe(2);
    expect(picture.configsDue(desired, rule(1, true)).size).toBe(20);
  });

  it('come in turn, a share a pass, so that none grows older than the interval', () => {
    const picture = createPicture();
    const readAtMs = new Map<number, number>();
    for (let nowMs = 0; nowMs <= 30 * MINUTE_MS; nowMs += 0.5 * MINUTE_MS) {
      const due = picture.configsDue(desired, rule(nowMs));
      if (nowMs > 0) expect(due.size).toBeLessThanOrEqual(2);
      for (const vmid of due) readAtMs.set(vmid, nowMs);
      const seen = guests(NOT_READ).map((guest) =>
        due.has(guest.vmid) ? { ...guest, config: read().config } : guest,
      );
      picture.update(actualState(...seen), nowMs);
      for (const atMs of readAtMs.values()) expect(nowMs - atMs).toBeLessThanOrEqual(5 * MINUTE_MS);
    }
  });

  it('are not read more often for being few', () => {
    const picture = createPicture();
    const one = desiredState(wantedGuest({ config: new Map([['cores', '2']]) }));
    let reads = 0;
    for (let nowMs = 0; nowMs < 30 * MINUTE_MS; nowMs += 0.5 * MINUTE_MS) {
      const isDue = picture.configsDue(one, rule(nowMs)).size > 0;
      if (isDue) reads += 1;
      picture.update(actualState(isDue ? read() : listed()), nowMs);
    }
    expect(reads).toBe(6);
  });
});
