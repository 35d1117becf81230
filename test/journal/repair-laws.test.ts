/**
 * What holds of every repair, whichever lines were damaged and however: the copy is sound, nothing
 * runs twice, no number is given twice, who was to be let alone is let alone.
 */
import { describe, expect, test } from 'vitest';
import type { Journal } from '../../src/journal/journal.ts';
import { JournalReader } from '../../src/journal/reader.ts';
import { salvage } from '../../src/journal/salvage.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import type { OpRecordDraft } from '../../src/reconcile/op.ts';
import { isTerminal } from '../../src/reconcile/op.ts';
import type { Note } from '../../src/reconcile/ports.ts';
import { NOTES, opId, opStory, START_MS, startOn, vmid } from '../support/journal-script.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

const REPAIRED_AT = new Date(START_MS + 60_000).toISOString();
/** Of whatever is written below, each with its own number. */
const OPS = [1, 2, 3, 4, 5, 6, 7, 8].map(opId);
const KEYS = [1, 2, 5, 6].map((number) => `key-${number}`);
const INITIAL = [vmid(102), vmid(106)];

const again = (records: readonly OpRecordDraft[]): OpRecordDraft[] =>
  records
    .filter(({ state }) => state === 'started' || state === 'task_running')
    .map((record) => ({ ...record, attempt: 2 }));

/** Every kind of record; of ops every state to be left in, of holds and pauses those that are over. */
function script(): (OpRecordDraft | Note)[] {
  const failed = opStory(5, { origin: 'hub', end: 'failed' });
  const restart = opStory(6, { origin: 'hub', end: null, task: false, guest: 105 });
  const part = opStory(7, { end: null, guest: 105 });
  const [operators] = opStory(8, { origin: 'hub', guest: 107 });
  if (operators === undefined) throw new TypeError('a story has a beginning');
  const { idemp_key: _key, payload_hmac: _hmac, ...unsigned } = operators;
  return [
    ...opStory(1, { origin: 'hub' }),
    ...NOTES,
    { kind: 'hold', hold: { vmid: vmid(108), untilMs: null, reason: 'to be looked at' } },
    ...opStory(2, { origin: 'hub' }).slice(0, 1),
    { kind: 'hub_cursor', cursor: 'event-2' },
    ...opStory(3, { end: 'failed', guest: 103 }),
    { kind: 'receipt_acked', recordSeq: 5 },
    ...failed,
    ...again(failed),
    { kind: 'initial_done', vmid: vmid(106) },
    ...restart.map((record) => ({ ...record, kind: 'restart' as const })),
    ...part.map((record) => ({ ...record, kind: 'stop' as const, parent_op_id: opId(6) })),
    { ...unsigned, origin: 'operator', hold_ms: 3_600_000 },
    { kind: 'hold', hold: { vmid: vmid(107), untilMs: START_MS + 3_600_000, reason: 'op 8' } },
    { kind: 'pause', pause: { untilMs: null, reason: 'night' } },
    ...opStory(4, { end: null, guest: 104 }),
  ];
}

interface Written {
  readonly files: ReadonlyMap<string, Buffer>;
  readonly truth: State;
  readonly nextSeq: number;
}

async function write(segmentBytes: number, keepSegments: number): Promise<Written> {
  const disk = new MemoryDisk();
  const journal = await startOn(disk, { segmentBytes, keepSegments });
  for (const each of script()) {
    await ('op_id' in each ? journal.ledger.append(each) : journal.ledger.note(each));
  }
  const truth = stateOf(journal);
  const { nextSeq } = journal.stats();
  await journal.close();
  return { files: disk.files(), truth, nextSeq };
}

/** As far as anybody may be hurt by it. */
interface State {
  readonly states: ReadonlyMap<string, string>;
  readonly attempts: ReadonlyMap<string, number>;
  readonly held: ReadonlySet<number>;
  readonly isPaused: boolean;
  readonly keys: ReadonlySet<string>;
  readonly keysLostToMs: number;
  readonly initial: ReadonlySet<number>;
}

function stateOf(journal: Journal): State {
  const { ledger } = journal;
  const views = OPS.flatMap((id) => ledger.findOp(id) ?? []);
  return {
    states: new Map(views.map(({ opId: id, latest }) => [id, latest.state])),
    attempts: new Map(views.map(({ opId: id, latest }) => [id, latest.attempt])),
    held: new Set(ledger.holds().keys()),
    isPaused: ledger.pause() !== null,
    keys: new Set(KEYS.filter((key) => ledger.findKey(key) !== null)),
    keysLostToMs: journal.hub().keysLostToMs,
    initial: new Set(INITIAL.filter((guest) => ledger.isInitialDone(guest))),
  };
}

const LAYOUTS = [
  { what: 'one segment', written: await write(1024 * 1024, 1000) },
  { what: 'several segments', written: await write(3000, 1000) },
  { what: 'the newest segment alone', written: await write(3000, 1) },
] as const;

/** Where each line is. */
interface Place {
  readonly name: string;
  readonly line: number;
  readonly isLast: boolean;
}

function placesOf(files: ReadonlyMap<string, Buffer>): Place[] {
  const names = [...files.keys()].filter((name) => name.endsWith('.jsonl')).sort();
  return names.flatMap((name) => {
    const lines = (files.get(name)?.toString() ?? '').split('\n').slice(0, -1);
    return lines.map((_, line) => {
      return { name, line, isLast: name === names.at(-1) && line === lines.length - 1 };
    });
  });
}

/** A line without its newline, as damage leaves it with what stands for its newline. */
const DAMAGES: Readonly<Record<string, (text: string) => string>> = {
  'one letter': (text) => `${text.replace(/"(at|reason|records)":/, '"$1x":')}\n`,
  'its sum': (text) => `${text.slice(0, -3)}${text.at(-3) === '0' ? '1' : '0'}"}\n`,
  'all letters': (text) => `${text.replace(/[a-z]/g, 'Z')}\n`,
  'its beginning': (text) => `${text.replace('"type":"', '"type"."')}\n`,
  'its middle': (text) => `${text.slice(0, 70)}\0${text.slice(71)}\n`,
  'its newline': (text) => `${text}x`,
  'all bytes': (text) => `${'\0'.repeat(Buffer.byteLength(text))}\n`,
  'more than it': (text) => '\0'.repeat(Buffer.byteLength(text) + 1),
  gone: () => '',
};

function damage(files: ReadonlyMap<string, Buffer>, hits: readonly Hit[]): Map<string, Buffer> {
  const damaged = new Map(files);
  for (const name of new Set(hits.map(({ place }) => place.name))) {
    const lines = (files.get(name)?.toString() ?? '').split('\n').slice(0, -1);
    const texts = lines.map((text, line) => {
      const hit = hits.find(({ place }) => place.name === name && place.line === line);
      return hit === undefined ? `${text}\n` : (DAMAGES[hit.how]?.(text) ?? '');
    });
    damaged.set(name, Buffer.from(texts.join('')));
  }
  return damaged;
}

/** What a crash may leave is no damage, and what nothing points to cannot be missed. */
function isSeen({ isLast }: Place, how: string): boolean {
  return !isLast || !['gone', 'its newline', 'more than it', 'all bytes'].includes(how);
}

type Hit = { readonly place: Place; readonly how: string };

/** All pairs in every way would be a hundred thousand. */
const PAIRS_MAX = 250;

/** Every line with others, near and far, in ways by turns. */
function pairsOf(places: readonly Place[]): (readonly [Hit, Hit])[] {
  const hows = Object.keys(DAMAGES);
  const pairs = places.flatMap((first, index) =>
    places.slice(index + 1).map((second) => [first, second] as const),
  );
  const step = Math.max(1, Math.ceil(pairs.length / PAIRS_MAX));
  return pairs
    .filter((_, index) => index % step === 0)
    .map(([first, second], index): readonly [Hit, Hit] => {
      const [a = '', b = ''] = [hows[index % hows.length], hows[(index * 5 + 3) % hows.length]];
      return [
        { place: first, how: a },
        { place: second, how: b },
      ];
    })
    .filter((hits) => hits.every(({ place, how }) => isSeen(place, how)));
}

/** Number and text (but for the sum) of every numbered line; `lost` has none. */
function numbered(files: ReadonlyMap<string, Buffer>): Map<number, string> {
  const found = new Map<number, string>();
  for (const [name, bytes] of files) {
    if (!name.endsWith('.jsonl')) continue;
    for (const line of bytes.toString().split('\n')) {
      const [, type, seq] = /^\{"type":"(\w+)","seq":(\d+)/.exec(line) ?? [];
      if (seq !== undefined) found.set(Number(seq), type === 'lost' ? '' : line.slice(0, -42));
    }
  }
  return found;
}

async function faultsOf(
  written: Written,
  damaged: ReadonlyMap<string, Buffer>,
): Promise<readonly string[]> {
  const copy = new MemoryDisk();
  const { mayBeLost } = await salvage(MemoryDisk.of(damaged), copy, REPAIRED_AT);
  const { problems } = await verifyJournal(new JournalReader(copy));
  const faults = problems.map(({ message }) => message);
  const before = numbered(written.files);
  const isOther = [...numbered(copy.files())].filter(([seq, text]) => {
    return seq < written.nextSeq && text !== '' && text !== before.get(seq);
  });
  if (isOther.length > 0) faults.push(`given out again: ${isOther.map(([seq]) => seq).join(', ')}`);
  const journal = await startOn(copy);
  const state = stateOf(journal);
  await journal.close();
  return [...faults, ...faultsOfState(written.truth, state, mayBeLost)];
}

function faultsOfState(truth: State, state: State, mayBeLost: readonly string[]): string[] {
  const faults: string[] = [];
  for (const [id, was] of truth.states) {
    const is = state.states.get(id);
    const isOver = is === 'succeeded' || (is === 'failed' && (state.attempts.get(id) ?? 0) > 0);
    if (is === 'received' && was !== 'received') faults.push(`${id} is sent again`);
    if (isOver && !isTerminal(was as 'failed')) faults.push(`${id} is ${is}, not ${was}`);
    const isMissed = is === undefined && !isTerminal(was as 'failed');
    if (isMissed && !mayBeLost.includes('op')) faults.push(`${id} is forgotten unsaid`);
  }
  if (truth.isPaused && !state.isPaused) faults.push('it is not paused any more');
  if (!state.isPaused) {
    for (const guest of truth.held) if (!state.held.has(guest)) faults.push(`${guest} is free`);
    for (const guest of truth.initial) {
      if (!state.initial.has(guest)) faults.push(`${guest} is started once more`);
    }
  }
  for (const key of truth.keys) {
    const isKept = state.keys.has(key) || state.keysLostToMs > START_MS + 30_000;
    if (!isKept) faults.push(`${key} is new`);
  }
  return faults;
}

describe.each(LAYOUTS)('of $what', ({ written }) => {
  const places = placesOf(written.files);

  test.each(Object.keys(DAMAGES))('any line may be damaged: %s', async (how) => {
    for (const place of places.filter((each) => isSeen(each, how))) {
      const damaged = damage(written.files, [{ place, how }]);
      expect({ place, faults: await faultsOf(written, damaged) }).toEqual({ place, faults: [] });
    }
  });

  test('any two lines may be damaged', async () => {
    for (const hits of pairsOf(places)) {
      const faults = await faultsOf(written, damage(written.files, hits));
      expect({ hits, faults }).toEqual({ hits, faults: [] });
    }
  });
});

test('the journal of these laws has every kind of record', () => {
  const [{ written }] = LAYOUTS;
  const texts = [...numbered(written.files).values()];
  const types = new Set(texts.map((text) => /"type":"(\w+)"/.exec(text)?.[1]));
  const notes = NOTES.map(({ kind }) => kind);
  expect(types).toEqual(new Set([...notes, 'opened', 'op', 'hub_cursor', 'receipt_acked']));
  expect(written.truth).toMatchObject({ isPaused: true, keys: new Set(KEYS) });
});
