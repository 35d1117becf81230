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
  readonly atWork = new Set<string>();
  /** Happens while the journal is read, behind what was read of it. */
  meanwhile: () => Promise<void> = async () => undefined;
  #journal: Journal | null = null;
  #outbox: Outbox | null = null;
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

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
        this.told.push(envelope);
        return { kind: 'answered', status: 204 };
      },
      ackedSeq: journal.hub().ackedSeq ?? 0,
      keepAcked: (recordSeq) => journal.ledger.note({ kind: 'receipt_acked', recordSeq }),
      newestSeq: journal.stats().nextSeq - 1,
      isAtWork: (id) => this.atWork.has(id),
      latestSeq: (id) =>
        this.isForgetful ? null : (journal.ledger.findOp(id)?.latest.seq ?? null),
      onLost: (records) => this.lost.push(records),
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
