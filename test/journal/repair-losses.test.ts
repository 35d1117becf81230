/** A repair fears no more than the evidence leaves open, and no less. */
import { describe, expect, test } from 'vitest';
import { JournalReader } from '../../src/journal/reader.ts';
import { type SalvageReport, salvage } from '../../src/journal/salvage.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import type { OpRecordDraft } from '../../src/reconcile/op.ts';
import type { Note } from '../../src/reconcile/ports.ts';
import { NOTES, opId, opStory, START_MS, startOn, vmid } from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';
import { linesOf, reseal } from '../support/resealed.ts';

const AT_MS = START_MS + 60_000;
const AT = new Date(AT_MS).toISOString();
/** A signer's clock may be ahead by a minute. */
const KEYS_LOST_TO_MS = AT_MS + 60_000;
const FIRST = '00000001.jsonl';

const [hold, pause, initialDone] = NOTES;
const [received, started] = opStory(2, { origin: 'hub', end: null });
if (!hold || !pause || !initialDone || !received || !started) throw new TypeError('none is there');
const cursor: Note = { kind: 'hub_cursor', cursor: 'event-1' };
const acked: Note = { kind: 'receipt_acked', recordSeq: 2 };

type Files = ReadonlyMap<string, Buffer>;

async function write(
  records: readonly (OpRecordDraft | Note)[],
  settings: { readonly segmentBytes: number; readonly keepSegments?: number } = {
    segmentBytes: 1024 * 1024,
  },
): Promise<Files> {
  const disk = new MemoryDisk();
  const journal = await startOn(disk, settings);
  for (const each of records) {
    await ('op_id' in each ? journal.ledger.append(each) : journal.ledger.note(each));
  }
  await journal.close();
  return disk.files();
}

/** The last line with `text` changed by `change`. */
function damage(
  files: Files,
  { text, name = FIRST }: { readonly text: string; readonly name?: string },
  change: (line: string) => string,
): Files {
  const lines = files.get(name)?.toString().split('\n') ?? [];
  const index = lines.findLastIndex((line) => line.includes(text));
  if (index < 0) throw new TypeError(`no line has ${text}`);
  const damaged = lines.with(index, change(lines[index] ?? ''));
  return new Map(files).set(name, Buffer.from(damaged.join('\n')));
}

/** It still reads as what it was. */
const lightly = (line: string): string => line.replace('"at":"2026', '"at":"2027');
const badly = (line: string): string => line.replace(/[a-z]/g, 'Z');

async function repair(
  files: Files,
): Promise<{ readonly report: SalvageReport; readonly copy: MemoryDisk }> {
  const copy = new MemoryDisk();
  const report = await salvage(MemoryDisk.of(files), copy, AT);
  expect((await verifyJournal(new JournalReader(copy))).problems).toEqual([]);
  return { report, copy };
}

describe('where a line is lost that still reads as', () => {
  const HARMLESS: readonly Note[] = [
    { kind: 'late_effect', vmid: vmid(101), upid: opUpid() },
    { kind: 'secret_applied', vmid: vmid(101), key: 'cipassword', hash: 'a'.repeat(64) },
    { kind: 'resume_guest', vmid: vmid(101) },
    { kind: 'forget_guest', vmid: vmid(101) },
    { kind: 'resume' },
    cursor,
    acked,
  ];

  function opUpid(): Extract<Note, { kind: 'late_effect' }>['upid'] {
    const found = NOTES.find((note) => note.kind === 'late_effect');
    if (found === undefined) throw new TypeError('there is none');
    return found.upid;
  }

  test.each(HARMLESS)('$kind, nothing is paused and no key refused', async (note) => {
    const files = damage(await write([received, note, initialDone]), { text: note.kind }, lightly);
    const { report, copy } = await repair(files);
    expect(report).toMatchObject({ ended: [], mayBeLost: [], pause: null, keysLostToMs: null });
    const journal = await startOn(copy);
    expect(journal.ledger.pause()).toBeNull();
    expect(journal.hub().keysLostToMs).toBe(0);
    expect(journal.ledger.findOp(opId(2))?.latest.state).toBe('received');
    await journal.close();
  });

  test.each([hold, pause, initialDone])('$kind, all is paused and no key refused', async (note) => {
    const files = damage(await write([received, note, cursor]), { text: note.kind }, lightly);
    const { report, copy } = await repair(files);
    expect(report).toMatchObject({ ended: [], mayBeLost: [note.kind], keysLostToMs: null });
    const [leftOut] = report.leftOut;
    expect(leftOut?.why).toContain(`it reads as ${note.kind} 3`);
    const journal = await startOn(copy);
    expect(journal.ledger.pause()).toEqual({ untilMs: null, reason: report.pause?.reason });
    expect(report.pause?.reason).toContain(`journal repair of ${AT}`);
    await journal.close();
  });

  test('a pause that is over for sure, nothing is paused', async () => {
    const files = damage(await write([pause, { kind: 'resume' }]), { text: '"pause"' }, lightly);
    expect((await repair(files)).report).toMatchObject({ mayBeLost: [], pause: null });
  });

  test('the beginning of an op with a key, nothing is paused and older signatures refused', async () => {
    const files = damage(await write([received, cursor]), { text: 'received' }, lightly);
    const { report, copy } = await repair(files);
    expect(report).toMatchObject({ pause: null, keysLostToMs: KEYS_LOST_TO_MS });
    const journal = await startOn(copy);
    expect(journal.hub().keysLostToMs).toBe(KEYS_LOST_TO_MS);
    await journal.close();
    // For good: also what a new segment restates says so.
    const next = await startOn(copy, { isTakeover: true });
    expect(next.hub().keysLostToMs).toBe(KEYS_LOST_TO_MS);
    await next.close();
  });

  test('the beginning of an op that asks for a hold, all is paused', async () => {
    const asking = { ...received, hold_ms: 3_600_000 };
    const files = damage(await write([asking, cursor]), { text: 'received' }, lightly);
    const { report } = await repair(files);
    expect(report.mayBeLost).toEqual(['hold', 'key', 'op']);
    expect(report.pause).not.toBeNull();
  });

  test('a step of an op, no key is refused', async () => {
    const files = damage(await write([received, started, cursor]), { text: '"started"' }, lightly);
    const { report } = await repair(files);
    expect(report).toMatchObject({ mayBeLost: ['op'], pause: null, keysLostToMs: null });
  });
});

describe('where a line is lost that nobody can read', () => {
  test('all is paused, with the reason of a pause in force, and older signatures refused', async () => {
    const { report } = await repair(damage(await write([pause, cursor]), { text: 'event' }, badly));
    expect(report.mayBeLost).toEqual(['hold', 'pause', 'initial_done', 'key', 'op']);
    expect(report.pause?.reason).toMatch(/journal repair of .*; before: maintenance$/);
    expect(report.keysLostToMs).toBe(KEYS_LOST_TO_MS);
  });

  test('and a later segment restates all there is, only history is', async () => {
    const files = await write([hold, ...opStory(1), received, ...opStory(3), ...opStory(4)], {
      segmentBytes: 1200,
    });
    const { report, copy } = await repair(damage(files, { text: '"hold"' }, badly));
    expect(report).toMatchObject({ ended: [], mayBeLost: [], pause: null, keysLostToMs: null });
    const journal = await startOn(copy);
    expect(journal.ledger.holds().has(vmid(101))).toBe(true);
    expect(journal.ledger.findOp(opId(2))?.latest.state).toBe('received');
    await journal.close();
  });

  test('and it is one of a restated part, it counts where nothing is before it', async () => {
    const records = [hold, received, ...opStory(3), ...opStory(4), ...opStory(5), ...opStory(6)];
    const files = await write(records, { segmentBytes: 1200 });
    const name =
      [...files.keys()]
        .filter((each) => each.endsWith('.jsonl'))
        .sort()
        .at(-1) ?? '';
    const damaged = damage(files, { name, text: 'live_guest' }, badly);
    const whole = await repair(damaged);
    expect(whole.report).toMatchObject({ ended: [], mayBeLost: [] });
    const alone = new Map([[name, damaged.get(name) ?? Buffer.alloc(0)]]);
    const { report } = await repair(alone);
    expect(report.mayBeLost).toEqual(['hold', 'pause', 'initial_done', 'key', 'op']);
    expect(report.pause).not.toBeNull();
  });
});

describe('an op that was received', () => {
  const others = opStory(3, { origin: 'hub', end: null });

  test.each([
    ['a record of another type', [received, hold], '"hold"', lightly, 'received'],
    ['another op’s', [received, ...others, cursor], '"started"', lightly, 'received'],
    ['its own', [received, started, cursor], '"started"', lightly, 'failed'],
    ['one that nobody can read', [received, hold, cursor], '"hold"', badly, 'failed'],
  ] as const)('is %s lost behind it', async (_, records, text, how, state) => {
    const { report, copy } = await repair(damage(await write(records), { text }, how));
    expect(report.ended).toEqual(state === 'failed' ? [opId(2)] : []);
    const journal = await startOn(copy);
    const { latest } = journal.ledger.findOp(opId(2)) ?? {};
    expect(latest?.state).toBe(state);
    expect(latest?.error?.code).toBe(state === 'failed' ? 'interrupted' : undefined);
    await journal.close();
  });
});

describe('no number is given out again', () => {
  const nextSeq = async (copy: MemoryDisk): Promise<number> => {
    const journal = await startOn(copy);
    await journal.close();
    // The last one was `opened`.
    return journal.stats().nextSeq - 1;
  };
  const lostIn = (copy: MemoryDisk): number =>
    [...copy.files().values()].join('').split('"type":"lost"').length - 1;

  test('where the last lines are damaged, each stands for one', async () => {
    const written = await write([received, cursor, hold, initialDone]);
    const texts = ['"hub_cursor"', '"hold"', '"initial_done"'];
    const files = texts.reduce((all, text) => damage(all, { text }, badly), written);
    const { copy, report } = await repair(files);
    expect(lostIn(copy)).toBe(3);
    // `opened` and `received` before them, the repair's own end and pause behind them.
    expect(await nextSeq(copy)).toBe(6 + report.ended.length + 1);
  });

  test('where the hub has acknowledged more than is left', async () => {
    const written = await write([acked, ...opStory(1), { kind: 'receipt_acked', recordSeq: 5 }]);
    const lines = written.get(FIRST)?.toString().split('\n') ?? [];
    const short = lines.toSpliced(3, 3);
    const { copy } = await repair(new Map([[FIRST, Buffer.from(short.join('\n'))]]));
    expect(await nextSeq(copy)).toBeGreaterThan(6);
  });

  test('where the newest segment is gone, whatever it held', async () => {
    const files = new Map(await write([received])).set('newest', Buffer.from('2\n'));
    const { copy, report } = await repair(files);
    expect(await nextSeq(copy)).toBeGreaterThan(10_000_000);
    expect(report.ended).toEqual([opId(2)]);
    expect(report.pause).not.toBeNull();
  });
});

test('without its header, a far number is the first one: all that stands behind it is kept', async () => {
  const far = linesOf(MemoryDisk.of(await write([...opStory(1), received, started])));
  for (const line of far.get(FIRST) ?? []) {
    if ('first_seq' in line) line['first_seq'] = 500_001;
    if ('seq' in line) line['seq'] = Number(line['seq']) + 500_000;
  }
  const files = reseal(far).files();
  const { report, copy } = await repair(damage(files, { text: '"epoch":1,"at"' }, lightly));
  expect(report).toMatchObject({ kept: 6, mayBeLost: [], pause: null });
  const journal = await startOn(copy);
  expect(journal.ledger.opsInFlight()).toMatchObject([{ opId: opId(2) }]);
  expect(journal.stats().nextSeq).toBe(500_008);
  await journal.close();
});

test('a stale writer’s late line takes no record’s place', async () => {
  const files = new Map(await write([hold, ...opStory(1), ...opStory(3)], { segmentBytes: 1200 }));
  const late = files.get(FIRST)?.toString().split('\n').at(-2) ?? '';
  const segments = linesOf(MemoryDisk.of(files));
  const [, body] = /"seq":(\d+)/.exec(late) ?? [];
  segments
    .get(FIRST)
    ?.push({ type: 'pause', seq: Number(body) + 1, at: AT, until_ms: null, reason: 'x' });
  // Sealed behind the last line; the next segment's header stays as it is.
  files.set(FIRST, reseal(segments).files().get(FIRST) ?? Buffer.alloc(0));
  const { report, copy } = await repair(files);
  expect(report.leftOut).toMatchObject([{ segment: FIRST, why: expect.stringContaining('late') }]);
  expect(report.mayBeLost).toEqual([]);
  const journal = await startOn(copy);
  expect(journal.ledger.pause()).toBeNull();
  await journal.close();
});
