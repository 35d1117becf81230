/** A clean end: what it leaves for the next start, and what it does where the disk refuses that. */
import { describe, expect, test } from 'vitest';
import type { StartOptions } from '../../src/journal/journal.ts';
import type { JournalLock } from '../../src/journal/lock.ts';
import { JournalReader } from '../../src/journal/reader.ts';
import { segmentName, segmentNumbers } from '../../src/journal/segments.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { ReconcilerError } from '../../src/reconcile/errors.ts';
import { opId, opStory, startOn, vmid } from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

describe('a clean end', () => {
  const settings = { segmentBytes: 8192, keepSegments: 1 };

  /** `ops` that ended, then one in flight. */
  async function openWith(ops: number, options: Partial<StartOptions> = {}) {
    const disk = new MemoryDisk();
    const journal = await startOn(disk, { ...settings, ...options });
    const stories = Array.from({ length: ops }, (_, index) => opStory(index + 2)).flat();
    const drafts = [...stories, ...opStory(1, { end: null })];
    await Promise.all(drafts.map((draft) => journal.ledger.append(draft)));
    return { disk, journal };
  }

  const segmentsOf = async (disk: MemoryDisk) => segmentNumbers(await disk.list());

  test('behind a segment half full begins one for the next start, with what that needs', async () => {
    const { disk, journal } = await openWith(6);
    await journal.close();
    expect(await segmentsOf(disk)).toEqual([2]);
    expect(disk.files().get(segmentName(2))?.length).toBeLessThan(2048);
    expect(await verifyJournal(new JournalReader(disk))).toMatchObject({ ok: true, problems: [] });
    const next = await startOn(disk, settings);
    expect(next.ledger.opsInFlight()).toMatchObject([{ opId: opId(1) }]);
    expect(next.ledger.lastUpid(vmid(101))).not.toBeNull();
    expect(next.stats()).toMatchObject({ segment: 2, nextSeq: journal.stats().nextSeq + 1 });
    await next.close();
    expect(await segmentsOf(disk)).toEqual([2]);
  });

  test('leaves the segment as it is where it is short, or as much is live as would be spared', async () => {
    const short = await openWith(1);
    await short.journal.close();
    expect(await segmentsOf(short.disk)).toEqual([1]);
    const live = await openWith(0);
    const drafts = [2, 3, 4, 5, 6].flatMap((op) => opStory(op, { end: null }));
    await Promise.all(drafts.map((draft) => live.journal.ledger.append(draft)));
    await live.journal.close();
    expect(await segmentsOf(live.disk)).toEqual([1]);
  });

  test.each(['create', 'append', 'sync', 'rename', 'syncFolder', 'remove'])(
    'is one though the disk refuses to %s for the next start, which finds all',
    async (kind) => {
      const halted: ReconcilerError[] = [];
      const { disk, journal } = await openWith(6, { onHalt: (error) => halted.push(error) });
      let refused = 0;
      disk.faults = (call) => {
        if (call.kind !== kind) return null;
        refused += 1;
        return 'ENOSPC';
      };
      await journal.close();
      expect(refused).toBe(1);
      expect(halted).toEqual([]);
      disk.faults = () => null;
      const next = await startOn(disk, settings);
      expect(next.ledger.opsInFlight()).toMatchObject([{ opId: opId(1) }]);
      await next.close();
      expect(await verifyJournal(new JournalReader(disk))).toMatchObject({ ok: true });
    },
  );

  test('whose lock is lost before the next segment has its name gives it none', async () => {
    const lost = new ReconcilerError('journal_locked', 'lost');
    let isOurs = true;
    const { disk, journal } = await openWith(6, {
      assertStillOwner: () => {
        if (!isOurs) throw lost;
      },
    });
    isOurs = false;
    await journal.close();
    expect(await segmentsOf(disk)).toEqual([1]);
  });

  test.each([
    ['before the next segment has its name', 'rename', { poisoned: 0, released: 1 }],
    ['as that name is made durable', 'syncFolder', { poisoned: 1, released: 0 }],
  ] as const)('that fails %s', async (_, kind, expected) => {
    const { disk, journal } = await openWith(6);
    const told = { poisoned: 0, released: 0 };
    const lock = {
      takenFrom: null,
      markPoisoned: () => (told.poisoned += 1),
      release: async () => (told.released += 1),
    };
    journal.hold(lock as unknown as JournalLock, { hash: (text) => text, isNew: false });
    disk.faults = (call) => (call.kind === kind ? 'EIO' : null);
    await journal.close();
    expect(told).toEqual(expected);
  });
});
