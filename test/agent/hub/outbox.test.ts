/** Receipts on their way: a hub that is away for long, a journal that is cut, attempts that go on. */
import { expect, test } from 'vitest';
import { Outbox, type OutboxParts, QUEUE_MAX } from '../../../src/agent/hub/outbox.ts';
import { createReceiptSource } from '../../../src/agent/hub/receipt-source.ts';
import type { Journal } from '../../../src/journal/journal.ts';
import { JournalReader } from '../../../src/journal/reader.ts';
import type { OpRecordDraft } from '../../../src/reconcile/op.ts';
import { opId, opStory, startOn } from '../../support/journal-script.ts';
import { MemoryDisk } from '../../support/memory-disk.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

class PostOffice {
  readonly clock = new VirtualClock();
  disk = new MemoryDisk();
  isOpen = true;
  /** Its ledger knows no op any more: they are long past. */
  isForgetful = false;
  /** `op_id state`, as the hub has them. */
  readonly told: string[] = [];
  readonly lost: number[] = [];
  /** Its answer to a receipt. */
  answer: (envelope: string) => number = () => 204;
  tries = 0;
  /** What the log would say. */
  readonly said: string[] = [];
  readonly atWork = new Set<string>();
  /** Happens while the journal is read, behind what was read of it. */
  meanwhile: () => Promise<void> = async () => undefined;
  #journal: Journal | null = null;
  #outbox: Outbox | null = null;
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  get outbox(): Outbox {
    if (this.#outbox === null) throw new Error('not started');
    return this.#outbox;
  }

  get journal(): Journal {
    if (this.#journal === null) throw new Error('not started');
    return this.#journal;
  }

  async start(keepSegments = 1000): Promise<this> {
    this.#journal = await startOn(this.disk, { keepSegments, segmentBytes: 16 * 1024 });
    this.#stop = new AbortController();
    this.#outbox = new Outbox(this.#parts(this.#journal));
    this.#running = this.#outbox.run(this.#stop.signal);
    return this;
  }

  #parts(journal: Journal): OutboxParts {
    const source = createReceiptSource(new JournalReader(this.disk), {
      findOp: (id) => (this.isForgetful ? null : journal.ledger.findOp(id)),
    });
    return {
      clock: this.clock,
      random: seededRandom(5),
      source: {
        readEnds: async (range) => {
          const ends = await source.readEnds(range);
          await this.meanwhile();
          return ends;
        },
      },
      seal: ({ op_id, state, attempt }) => `${Number(op_id)} ${state} ${attempt}`,
      post: async (envelope) => {
        if (!this.isOpen) return { kind: 'unreachable', isUntrusted: false, message: 'away' };
        this.tries += 1;
        const status = this.answer(envelope);
        if (status === 204) this.told.push(envelope);
        return { kind: 'answered', status };
      },
      ackedSeq: journal.hub().ackedSeq ?? 0,
      keepAcked: (recordSeq) => journal.ledger.note({ kind: 'receipt_acked', recordSeq }),
      newestSeq: journal.stats().nextSeq - 1,
      isAtWork: (id) => this.atWork.has(id),
      latestSeq: (id) =>
        this.isForgetful ? null : (journal.ledger.findOp(id)?.latest.seq ?? null),
      onLost: (records) => this.lost.push(records),
      onRefused: ({ op_id }, status) => this.said.push(`${Number(op_id)} refused ${status}`),
      onTrouble: (trouble) =>
        this.said.push(
          trouble === null ? 'taken again' : `${Number(trouble.opId)} ${trouble.message}`,
        ),
    };
  }

  async write(...records: readonly OpRecordDraft[]): Promise<void> {
    for (const draft of records) {
      this.#outbox?.noteRecord(await this.journal.ledger.append(draft));
    }
  }

  /** Time passes until nothing more is under way. */
  async settle(): Promise<void> {
    await this.clock.advanceTo(this.clock.elapsedMs + 300_000);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** kill -9 and the next start. */
  async restart(keepSegments?: number): Promise<void> {
    await this.stop();
    this.disk = this.disk.afterKill();
    await this.start(keepSegments);
  }
}

const succeeded = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${from + index} succeeded 1`);

async function writeOps(office: PostOffice, from: number, count: number): Promise<void> {
  for (let number = from; number < from + count; number += 1) {
    await office.write(...opStory(number, { task: false }));
  }
}

test('what does not fit in memory is read from the journal, over its segments, in order', async () => {
  const office = await new PostOffice().start();
  office.isOpen = false;
  const count = QUEUE_MAX + 500;
  await writeOps(office, 1, count);
  office.isOpen = true;
  await office.settle();
  expect(office.told).toEqual(succeeded(1, count));
  await writeOps(office, count + 1, 3);
  await office.settle();
  expect(office.told).toEqual(succeeded(1, count + 3));
  await office.stop();
});

test('what a hub missed while it was away comes after a restart, and then what is new', async () => {
  const office = await new PostOffice().start();
  await writeOps(office, 1, 5);
  await office.settle();
  office.isOpen = false;
  await writeOps(office, 6, 200);
  await office.restart();
  await writeOps(office, 206, 2);
  office.isOpen = true;
  await office.settle();
  expect(office.told).toEqual(succeeded(1, 207));
  await office.restart();
  await office.settle();
  expect(office.told).toHaveLength(207);
  await office.stop();
});

test('what retention removed before the hub had it is said to be lost', async () => {
  const office = await new PostOffice().start(2);
  office.isOpen = false;
  await writeOps(office, 1, 600);
  await office.restart(2);
  office.isOpen = true;
  await office.settle();
  expect(office.lost).toHaveLength(1);
  expect(office.told.at(-1)).toBe('600 succeeded 1');
  const first = Number(office.told[0]?.split(' ')[0]);
  expect(first).toBeGreaterThan(100);
  expect(office.told).toEqual(succeeded(first, 601 - first));
  await office.stop();
});

/** An op whose first attempt fails; what follows is the test's. */
const FAILED_ONCE = opStory(1, { end: 'failed' });

function secondAttempt(): OpRecordDraft[] {
  const [begun, , ended] = opStory(1);
  if (begun === undefined || ended === undefined) throw new Error('no story');
  const { upid: _, ...untasked } = ended;
  return [
    { ...begun, attempt: 2 },
    { ...untasked, attempt: 2 },
  ];
}

test('a failed attempt that is followed by another is not told, only the end', async () => {
  const office = await new PostOffice().start();
  office.atWork.add(opId(1));
  await office.write(...FAILED_ONCE);
  await writeOps(office, 2, 1);
  await office.settle();
  expect(office.told).toEqual(['2 succeeded 1']);
  await office.write(...secondAttempt());
  office.atWork.clear();
  await office.settle();
  expect(office.told).toEqual(['2 succeeded 1', '1 succeeded 2']);
  await office.stop();
});

test.each([[false], [true]])(
  'nor where the other one is in a later segment (in the journal alone: %s)',
  async (isForgetful) => {
    const office = await new PostOffice().start();
    office.isForgetful = isForgetful;
    office.isOpen = false;
    office.atWork.add(opId(1));
    // One on its way keeps the rest to be read from the journal, beside one that failed for good.
    await office.write(...opStory(2, { task: false }), ...opStory(3, { end: 'failed' }));
    await office.write(...FAILED_ONCE);
    await office.stop();
    const { segment } = office.journal.stats();
    let number = 4;
    for (; office.journal.stats().segment < segment + 2; number += 1) {
      await writeOps(office, number, 1);
    }
    await office.write(...secondAttempt());
    office.atWork.clear();
    await office.restart();
    office.isOpen = true;
    await office.settle();
    const others = succeeded(4, number - 4);
    expect(office.told).toEqual(['2 succeeded 1', '3 failed 1', ...others, '1 succeeded 2']);
    await office.stop();
  },
);

test.each([['in its lane'], ['done with']])(
  'nor where the other one ends while the first is read, its op %s',
  async (lane) => {
    const office = await new PostOffice().start();
    office.isOpen = false;
    office.atWork.add(opId(1));
    await office.write(...FAILED_ONCE);
    await office.stop();
    office.isOpen = true;
    const again = async (): Promise<void> => {
      office.meanwhile = async () => undefined;
      if (lane === 'done with') office.atWork.clear();
      await office.write(...secondAttempt());
      // Its lane lets go at any moment from then on.
      queueMicrotask(() => office.atWork.clear());
    };
    office.meanwhile = again;
    await office.restart();
    await office.settle();
    expect(office.told).toEqual(['1 succeeded 2']);
    await office.stop();
  },
);

test('a failed op is told when its lane has let go of it', async () => {
  const office = await new PostOffice().start();
  office.atWork.add(opId(1));
  await office.write(...FAILED_ONCE);
  await office.settle();
  expect(office.told).toEqual([]);
  office.atWork.clear();
  await office.settle();
  expect(office.told).toEqual(['1 failed 1']);
  await office.stop();
});

test('one that was held when the agent died is told by the next one', async () => {
  const office = await new PostOffice().start();
  office.atWork.add(opId(1));
  await office.write(...FAILED_ONCE);
  await writeOps(office, 2, 1);
  await office.settle();
  office.atWork.clear();
  await office.restart();
  await office.settle();
  // The one behind it comes again: the note never passed what was held.
  expect(office.told).toEqual(['2 succeeded 1', '1 failed 1', '2 succeeded 1']);
  await office.stop();
});

test.each([[413], [422]])(
  'one that is answered %i is not sent again, is told of, and holds up nothing',
  async (status) => {
    const office = await new PostOffice().start();
    office.answer = (envelope) => (envelope.startsWith('2 ') ? status : 204);
    await writeOps(office, 1, 4);
    await office.settle();
    await office.restart();
    await office.settle();
    expect(office.told).toEqual(['1 succeeded 1', '3 succeeded 1', '4 succeeded 1']);
    expect(office.said).toEqual([`2 refused ${status}`]);
    expect(office.outbox.waiting).toEqual({ count: 0, oldestAtMs: null });
    await office.stop();
  },
);

test.each([[400], [404], [500]])(
  'one that is answered %i each time is said to be in the way once, and sent again behind the others',
  async (status) => {
    const office = await new PostOffice().start();
    office.answer = (envelope) => (envelope.startsWith('1 ') ? status : 204);
    // More than one reading of the journal: what is put aside does not end the reading.
    await office.stop();
    await writeOps(office, 1, 400);
    await office.restart();
    await office.settle();
    expect(office.told).toEqual(succeeded(2, 399));
    const trouble = `1 the hub answered ${status}`;
    expect(office.said).toEqual([trouble]);
    expect(office.outbox.trouble).toEqual({ opId: opId(1), message: `the hub answered ${status}` });
    expect(office.outbox.waiting).toMatchObject({ count: 1, oldestAtMs: expect.any(Number) });
    const { tries } = office;
    await office.settle();
    expect(office.tries - tries).toBeLessThanOrEqual(1);
    office.answer = () => 204;
    await office.settle();
    expect(office.told).toEqual([...succeeded(2, 399), '1 succeeded 1']);
    expect(office.said).toEqual([trouble, 'taken again']);
    expect(office.outbox.trouble).toBeNull();
    await office.restart();
    await office.settle();
    expect(office.told).toHaveLength(400);
    await office.stop();
  },
);

test('a hub that is away for long is said to be so once, and gets all in order', async () => {
  const office = await new PostOffice().start();
  office.isOpen = false;
  await writeOps(office, 1, 5);
  await office.settle();
  const endedAtMs = Date.parse(office.journal.ledger.findOp(opId(1))?.latest.at ?? '');
  expect(office.outbox.waiting).toEqual({ count: 5, oldestAtMs: endedAtMs });
  office.isOpen = true;
  await office.settle();
  expect(office.told).toEqual(succeeded(1, 5));
  expect(office.said).toEqual(['1 away', 'taken again']);
  await office.stop();
});

test('a hub that answered each with an error for long has all as soon as it takes one', async () => {
  const office = await new PostOffice().start();
  office.answer = () => 503;
  await writeOps(office, 1, 20);
  await office.settle();
  office.answer = () => 204;
  await office.clock.advanceTo(office.clock.elapsedMs + 61_000);
  expect(office.told.toSorted()).toEqual(succeeded(1, 20).toSorted());
  expect(office.said).toEqual(['1 the hub answered 503', 'taken again']);
  await office.stop();
});
