import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { JournalReader } from '../../src/journal/reader.ts';
import { liveBody } from '../../src/journal/records.ts';
import { replaySegment } from '../../src/journal/replay.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import type { OpRecordDraft } from '../../src/reconcile/op.ts';
import type { Note, OpLedger } from '../../src/reconcile/ports.ts';
import {
  HMAC,
  opId,
  opStory,
  START_MS,
  startOn,
  tickingClock,
  upid,
  vmid,
} from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

const MINUTE_MS = 60_000;

type Step =
  | { readonly kind: 'op'; readonly draft: OpRecordDraft }
  | { readonly kind: 'note'; readonly note: Note };

const guest = fc.integer({ min: 101, max: 103 });
const untilMs = fc.option(fc.integer({ min: START_MS - 5000, max: START_MS + 5000 }));

const noteArbitrary: fc.Arbitrary<Note> = fc.oneof(
  fc
    .record(
      {
        vmid: guest.map(vmid),
        untilMs,
        reason: fc.string(),
        under: fc.record({ untilMs, reason: fc.string() }),
      },
      { requiredKeys: ['vmid', 'untilMs', 'reason'] },
    )
    .map((hold) => ({ kind: 'hold' as const, hold })),
  guest.map((id) => ({ kind: 'resume_guest' as const, vmid: vmid(id) })),
  fc.record({ untilMs, reason: fc.string({ unit: 'grapheme' }) }).map((pause) => ({
    kind: 'pause' as const,
    pause,
  })),
  fc.constant({ kind: 'resume' as const }),
  guest.map((id) => ({ kind: 'initial_done' as const, vmid: vmid(id) })),
  guest.map((id) => ({ kind: 'forget_guest' as const, vmid: vmid(id) })),
  fc
    .tuple(guest, fc.nat(50))
    .map(([id, age]) => ({ kind: 'late_effect' as const, vmid: vmid(id), upid: upid(age, id) })),
  guest.map((id) => ({
    kind: 'secret_applied' as const,
    vmid: vmid(id),
    key: 'cipassword',
    hash: HMAC,
  })),
);

/** Stories of ops, mixed with each other and with notes, each in its own order. */
const stepsArbitrary: fc.Arbitrary<Step[]> = fc
  .array(
    fc.oneof(
      noteArbitrary.map((note): Step => ({ kind: 'note', note })),
      fc.record({
        kind: fc.constant('story' as const),
        origin: fc.constantFrom('reconcile' as const, 'hub' as const),
        end: fc.constantFrom('succeeded' as const, 'failed' as const, null),
        task: fc.boolean(),
        guest,
        pulls: fc.integer({ min: 1, max: 4 }),
      }),
    ),
    { maxLength: 40 },
  )
  .map((items) =>
    items.flatMap((item, index): Step[] =>
      item.kind === 'story'
        ? opStory(index + 1, item)
            .slice(0, item.pulls)
            .map((draft) => ({ kind: 'op', draft }))
        : [item],
    ),
  );

async function take(ledger: OpLedger, step: Step): Promise<void> {
  if (step.kind === 'op') await ledger.append(step.draft);
  else await ledger.note(step.note);
}

/** All that a ledger tells, as one value. */
function told(ledger: OpLedger): unknown {
  const guests = [101, 102, 103].map(vmid);
  const inFlight = ledger.opsInFlight();
  expect(ledger.inFlightCount()).toBe(inFlight.length);
  return {
    inFlight,
    keys: Array.from({ length: 40 }, (_, index) => ledger.findKey(`key-${index}`)),
    holds: [...ledger.holds()].sort(([a], [b]) => a - b),
    pause: ledger.pause(),
    guests: guests.map((id) => ({
      lastUpid: ledger.lastUpid(id),
      starts: ledger.recentStarts(id),
      wasStarted: ledger.wasStartedLately(id),
      isInitialDone: ledger.isInitialDone(id),
      secret: ledger.appliedSecret(id, 'cipassword'),
    })),
  };
}

/** Without holds and pauses that are over: a new segment may have dropped them. */
function inForce(value: unknown): unknown {
  const { holds, pause, ...rest } = JSON.parse(JSON.stringify(value));
  const isOn = (until: number | null): boolean => until === null || until > START_MS + 4000;
  return {
    ...rest,
    holds: holds.filter(([, hold]: [number, { untilMs: number | null }]) => isOn(hold.untilMs)),
    pause: pause !== null && isOn(pause.untilMs) ? pause : null,
  };
}

describe('whatever is appended', () => {
  test('a journal opened again tells the same, however often its segments were changed', async () => {
    await fc.assert(
      fc.asyncProperty(stepsArbitrary, fc.boolean(), async (steps, isTakeover) => {
        const disk = new MemoryDisk();
        const journal = await startOn(disk, { segmentBytes: 1024 });
        for (const step of steps) await take(journal.ledger, step);
        const before = told(journal.ledger);
        await journal.close();
        const again = await startOn(disk, { segmentBytes: 1024, isTakeover });
        expect(inForce(told(again.ledger))).toEqual(inForce(before));
        await again.close();
        const report = await verifyJournal(new JournalReader(disk));
        expect(report.problems).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  test('a segment restates what a replay of it restates again', async () => {
    await fc.assert(
      fc.asyncProperty(stepsArbitrary, async (steps) => {
        const disk = new MemoryDisk();
        const journal = await startOn(disk, { segmentBytes: 1024 });
        for (const step of steps) await take(journal.ledger, step);
        await journal.close();
        const { segment } = journal.stats();
        const [a, b] = await Promise.all([
          replaySegment(disk, segment),
          replaySegment(disk, segment),
        ]);
        const first = a.ledger.restate(START_MS).map(liveBody);
        for (const live of b.ledger.restate(START_MS)) b.ledger.restore(live);
        expect(b.ledger.restate(START_MS).map(liveBody)).toEqual(first);
      }),
      { numRuns: 40 },
    );
  });
});

const [received, , running, succeeded] = opStory(1, { origin: 'hub' });
const [started, task, failed] = opStory(2, { end: 'failed' });
if (!received || !running || !succeeded || !started || !task || !failed) {
  throw new TypeError('stories have records');
}
const again = { ...started, attempt: 2 };
const { upid: _, ...failedBare } = failed;
const part = { ...started, op_id: opId(3), origin: 'operator' as const, parent_op_id: opId(1) };

describe('what may not follow is refused, with nothing written', () => {
  test.each<[string, string, OpRecordDraft[], OpRecordDraft]>([
    ['J2', 'a reconcile op that is received', [], { ...received, origin: 'reconcile' }],
    ['J2', 'a hub op that begins started', [], { ...started, origin: 'hub' }],
    ['J2', 'a first attempt that is not 1', [], again],
    ['J2', 'a task of nothing', [], task],
    ['J2', 'received in attempt 1', [], { ...received, attempt: 1 }],
    ['J2', 'received twice', [received], received],
    ['J2', 'succeeded without an attempt', [received], { ...received, state: 'succeeded' }],
    ['J2', 'a task without a UPID', [started], { ...started, state: 'task_running' }],
    ['J2', 'a task of another attempt', [started], { ...task, attempt: 2 }],
    ['J2', 'started twice', [started], started],
    ['J2', 'started again before it failed', [started], again],
    ['J2', 'a second task', [started, task], task],
    ['J9', 'an end of another task', [started, task], { ...failed, upid: upid(77) }],
    ['J9', 'an end without its task', [started, task], failedBare],
    ['J9', 'an end with a task never recorded', [started], failed],
    ['J2', 'a third attempt after the first', [started, task, failed], { ...again, attempt: 3 }],
    ['J2', 'an end after an end', [started, task, failed], failed],
    ['J2', 'a record after succeeded', [started, task, { ...failed, state: 'succeeded' }], again],
    ['J2', 'an attempt after being cancelled', [received, cancelled()], { ...received, ...again }],
    ['J9', 'an end of another attempt', [started, task], { ...failed, attempt: 2 }],
    ['J9', 'another guest', [started], { ...task, vmid: vmid(999) }],
    ['J9', 'another kind of guest', [started], { ...task, guest_kind: 'lxc' }],
    ['J9', 'another kind', [started], { ...task, kind: 'stop' }],
    ['J9', 'another origin', [started], { ...task, origin: 'hub' }],
    ['J6', 'another key', [received], { ...received, state: 'failed', idemp_key: 'other' }],
    ['J6', 'a key of another op', [received], { ...received, op_id: opId(9) }],
  ])('%s: %s', async (rule, _name, before, next) => {
    const disk = new MemoryDisk();
    const journal = await startOn(disk);
    for (const record of before) await journal.ledger.append(record);
    const files = disk.files();
    await expect(journal.ledger.append(next)).rejects.toMatchObject({
      code: 'internal_error',
      disposition: 'halt',
      message: expect.stringContaining(`(${rule})`),
    });
    expect(disk.files()).toEqual(files);
    await journal.close();
  });

  test.each<[string, OpRecordDraft[]]>([
    ['an op settled by looking', [started, { ...failedBare, state: 'succeeded' }]],
    ['a second attempt', [started, task, failed, again]],
    ['an op that expired before its turn', [received, cancelled()]],
    ['a part of a composite op', [part]],
  ])('but %s is not', async (_name, records) => {
    const journal = await startOn(new MemoryDisk());
    for (const record of records) await journal.ledger.append(record);
    await journal.close();
  });
});

function cancelled(): OpRecordDraft {
  const error = { code: 'cancelled' as const, message: 'by hand' };
  return { ...opStory(1, { origin: 'hub' })[0], state: 'failed', error } as OpRecordDraft;
}

test('a record that is too long is refused, and the journal goes on', async () => {
  const journal = await startOn(new MemoryDisk());
  const long = { ...started, actor: 'ä'.repeat(200_000) };
  await expect(journal.ledger.append(long)).rejects.toMatchObject({ code: 'invalid_request' });
  expect(journal.ledger.findOp(opId(2))).toBeNull();
  await journal.ledger.append(started);
  expect(journal.stats().nextSeq).toBe(3);
  await journal.close();
});

describe('an idempotency key', () => {
  const keyed = opStory(1, { origin: 'hub' });
  const expiresAtMs = START_MS + 60 * MINUTE_MS;

  async function afterMinutes(minutes: number): Promise<boolean> {
    const disk = new MemoryDisk();
    const first = await startOn(disk);
    for (const record of keyed) await first.ledger.append(record);
    await first.close();
    const clock = tickingClock(START_MS + minutes * MINUTE_MS);
    // Two changes of segment, so that it has been restated, or not.
    const second = await startOn(disk, { clock, isTakeover: true });
    await second.close();
    const third = await startOn(disk, { clock, isTakeover: true });
    const kept = third.ledger.findKey('key-1');
    expect(third.ledger.findOp(opId(1)) !== null).toBe(kept !== null);
    await third.close();
    return kept !== null && kept.expiresAtMs === expiresAtMs && kept.payloadHmac === HMAC;
  }

  test.each([
    [0, true],
    [61, true],
    [63, false],
  ])('%i minutes later is kept: %s', async (minutes, isKept) => {
    expect(await afterMinutes(minutes)).toBe(isKept);
  });

  test('of an op still in flight is kept whatever the time', async () => {
    const clock = tickingClock();
    const journal = await startOn(new MemoryDisk(), { clock });
    for (const record of keyed.slice(0, 2)) await journal.ledger.append(record);
    clock.advance(24 * 60 * MINUTE_MS);
    expect(journal.ledger.findKey('key-1')?.opId).toBe(opId(1));
    await journal.close();
  });
});

test('the parts of a composite op in flight stay, however many other ops end', async () => {
  const disk = new MemoryDisk();
  const journal = await startOn(disk);
  const parent = { ...received, kind: 'restart' as const, op_id: opId(500), idemp_key: 'parent' };
  await journal.ledger.append(parent);
  await journal.ledger.append({ ...parent, state: 'started', attempt: 1 });
  for (const record of opStory(501)) {
    await journal.ledger.append({ ...record, origin: 'hub', parent_op_id: opId(500) });
  }
  for (let op = 1; op < 100; op++) {
    for (const record of opStory(op)) await journal.ledger.append(record);
  }
  expect(journal.ledger.findOp(opId(1))).toBeNull();
  expect(journal.ledger.childrenOf(opId(500)).map(({ opId: id }) => id)).toEqual([opId(501)]);
  await journal.close();
  const reopened = await startOn(disk);
  expect(reopened.ledger.childrenOf(opId(500))[0]?.latest.state).toBe('succeeded');
  await reopened.close();
});

describe('an op that ended without an answer', () => {
  const [begun] = opStory(500, { guest: 102 });
  if (!begun) throw new TypeError('stories have records');
  const error = { code: 'interrupted', message: 'no answer and no task' } as const;
  const done: OpRecordDraft = { ...begun, state: 'succeeded', observed: { unanswered: true } };
  const unanswered: OpRecordDraft[] = [begun, { ...begun, state: 'failed', error }];

  /** Forty other ops, and a new segment, after `minutes`. */
  async function keptAfter(records: readonly OpRecordDraft[], minutes: number): Promise<number[]> {
    const disk = new MemoryDisk();
    const clock = tickingClock();
    const first = await startOn(disk, { clock });
    for (const record of records) await first.ledger.append(record);
    clock.advance(minutes * MINUTE_MS);
    for (let op = 1; op <= 40; op++) {
      for (const record of opStory(op, { end: 'failed' })) await first.ledger.append(record);
    }
    await first.close();
    const second = await startOn(disk, { clock, isTakeover: true });
    const kept = [500, 501].filter((op) => second.ledger.findOp(opId(op)) !== null);
    await second.close();
    return kept;
  }

  test.each<[string, OpRecordDraft[], number, number[]]>([
    ['stays while its request may still begin', unanswered, 0, [500]],
    ['is forgotten like others after that', unanswered, 2, []],
    ['stays also where it has ended as done', [begun, done], 0, [500]],
    [
      'keeps its twin, whose task may be its own',
      [...unanswered, ...opStory(501, { guest: 102 })],
      0,
      [500, 501],
    ],
    ['keeps no op on another guest', [...unanswered, ...opStory(501, { guest: 103 })], 0, [500]],
  ])('%s', async (_name, records, minutes, kept) => {
    expect(await keptAfter(records, minutes)).toEqual(kept);
  });
});

test.each([
  ['stays while an op that asks for one is in flight', 500, [vmid(101)]],
  ['is forgotten where none does', undefined, []],
])('a hold that is over %s', async (_name, holdMs, left) => {
  const disk = new MemoryDisk();
  const clock = tickingClock();
  const first = await startOn(disk, { clock });
  const asking = holdMs === undefined ? {} : { hold_ms: holdMs };
  for (const record of opStory(1, { origin: 'hub', end: null })) {
    await first.ledger.append({ ...record, ...asking });
  }
  const hold = { vmid: vmid(101), untilMs: START_MS + 500, reason: 'by hand' };
  await first.ledger.note({ kind: 'hold', hold });
  await first.close();
  clock.advance(MINUTE_MS);
  const second = await startOn(disk, { clock, isTakeover: true });
  expect([...second.ledger.holds().keys()]).toEqual(left);
  await second.close();
});
