/** How segments may end, lines longer than a piece, and segments that go while they are read. */
import { describe, expect, test } from 'vitest';
import { appendAll, errnoOf, type ReadFile } from '../../src/journal/disk.ts';
import { JournalReader } from '../../src/journal/reader.ts';
import { scanBack } from '../../src/journal/scan-back.ts';
import { tailJournal } from '../../src/journal/tail.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { opId, opStory, startOn, tickingClock, upid, vmid } from '../support/journal-script.ts';
import { MemoryDisk, SECTOR_BYTES } from '../support/memory-disk.ts';

const MIB = 1024 * 1024;

async function writeJournal(segmentBytes: number): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  const journal = await startOn(disk, { segmentBytes });
  for (let op = 1; op <= 6; op++) {
    for (const record of opStory(op)) await journal.ledger.append(record);
  }
  await journal.close();
  return disk;
}

const several = await writeJournal(1024);
const one = await writeJournal(MIB);
const names = [...several.files().keys()].filter((name) => /^\d+\.jsonl$/.test(name)).sort();
const [oldest = '', newest = ''] = [names[0], names.at(-1)];

function withEnd(disk: MemoryDisk, name: string, end: Buffer | string): MemoryDisk {
  const bytes = disk.files().get(name) ?? Buffer.alloc(0);
  return MemoryDisk.of(new Map(disk.files()).set(name, Buffer.concat([bytes, Buffer.from(end)])));
}

async function verified(disk: MemoryDisk): Promise<{ problems: string[]; notices: string[] }> {
  const { problems, notices } = await verifyJournal(new JournalReader(disk));
  return {
    problems: problems.map(({ rule, message }) => `${rule} ${message}`),
    notices: notices.map(({ rule, message }) => `${rule} ${message}`),
  };
}

describe('the end of a segment', () => {
  test('that was never written to disk, and reads as lines of zeros, is cut off', async () => {
    const lost = Buffer.concat([Buffer.alloc(3 * SECTOR_BYTES), Buffer.from('\n{"type":')]);
    const disk = withEnd(several, newest, lost);
    const { problems, notices } = await verified(disk);
    expect(problems).toEqual([]);
    expect(notices).toEqual([
      `J4 ${lost.length} bytes of an incomplete end; opening cuts them off`,
    ]);
    const journal = await startOn(disk);
    expect(journal.report.torn).toMatchObject({ bytes: lost.length });
    await journal.close();
  });

  test('of an older one may hold half a line of a stale writer', async () => {
    const { problems, notices } = await verified(withEnd(several, oldest, '{"type":"op","seq":9'));
    expect({ problems, notices }).toEqual({ problems: [], notices: ['J8 half a late line'] });
  });

  test('of an older one that was cut off is a problem', async () => {
    const bytes = several.files().get(oldest) ?? Buffer.alloc(0);
    const cut = new Map(several.files()).set(oldest, bytes.subarray(0, -20));
    const { problems } = await verified(MemoryDisk.of(cut));
    expect(problems).toContain('J4 it ends within a line');
  });

  test.each([
    ['longer than any line', Buffer.alloc(MIB + 1, 'x'), /has no end/],
    ['further from the end than a crash reaches', `x\n${'y'.repeat(3 * MIB)}`, /far from the end/],
  ])('that is %s is no crash’s work', async (_, end, message) => {
    const disk = withEnd(one, '00000001.jsonl', end);
    await expect(startOn(disk)).rejects.toThrow(message);
    expect((await verified(disk)).problems.join()).toMatch(/^J4 /);
  });

  test('that is torn is cut off only when it can be kept aside', async () => {
    const disk = withEnd(one, '00000001.jsonl', '{"type":');
    const before = disk.files();
    disk.faults = ({ kind }) => (kind === 'openAppend' ? 'EIO' : null);
    await expect(startOn(disk)).rejects.toThrow('EIO');
    expect(disk.files()).toEqual(before);
  });

  test('that is all wrong is told up to a thousand lines', async () => {
    const { problems } = await verified(withEnd(one, '00000001.jsonl', 'x\n'.repeat(1_100)));
    expect(problems).toHaveLength(1_000);
  });
});

test('without any segment, a damaged `newest` is refused: there has been one', async () => {
  const disk = MemoryDisk.of([['newest', Buffer.from('x')]]);
  await expect(startOn(disk)).rejects.toMatchObject({
    code: 'journal_corrupt',
    context: { segment: 1, rule: 'J10' },
  });
  expect([...disk.files().keys()]).toEqual(['newest']);
});

/** Its first list is from before the newest segment was begun. */
class LateList extends MemoryDisk {
  readonly #disk: MemoryDisk;
  #isFirst = true;

  constructor(disk: MemoryDisk) {
    super();
    this.#disk = disk;
  }

  override async list(): Promise<readonly string[]> {
    const names = await this.#disk.list();
    const listed = this.#isFirst ? names.filter((name) => name !== newest) : names;
    this.#isFirst = false;
    return listed;
  }

  override openRead(name: string): Promise<ReadFile> {
    return this.#disk.openRead(name);
  }
}

test('a segment that is begun while a journal is verified is not missing from it', async () => {
  expect((await verifyJournal(new JournalReader(new LateList(several)))).problems).toEqual([]);
  const gone = new Map(several.files());
  gone.delete(newest);
  expect((await verified(MemoryDisk.of(gone))).problems).toEqual(['J10 the segment is missing']);
});

describe('a line longer than what is read at once', () => {
  const file = (text: string): ReadFile => {
    const bytes = Buffer.from(text);
    return {
      size: async () => bytes.length,
      read: async (into, position) => bytes.copy(into, 0, position),
      close: async () => undefined,
    };
  };
  const long = 'l'.repeat(200_000);

  test.each([
    ['first', `${long}\nb\nc\n`, ['c', 'b', long]],
    ['in the middle', `a\n${long}\nc\n`, ['c', long, 'a']],
    ['last', `a\nb\n${long}\n`, [long, 'b', 'a']],
    ['and torn', `a\nb\n${long}`, ['b', 'a']],
    ['alone and empty', '\n', ['']],
  ])('is read backwards, %s', async (_, text, expected) => {
    const lines: string[] = [];
    await scanBack(file(text), (line) => {
      lines.push(line.text);
      return undefined;
    });
    expect(lines).toEqual(expected);
  });
});

/** A disk whose folder still names what is gone, as a list does that was read a moment ago. */
class StaleList extends MemoryDisk {
  readonly #disk: MemoryDisk;
  readonly #names: readonly string[];

  constructor(disk: MemoryDisk, gone: readonly string[]) {
    super();
    this.#disk = disk;
    this.#names = gone;
  }

  override async list(): Promise<readonly string[]> {
    return [...new Set([...this.#names, ...(await this.#disk.list())])];
  }

  override openRead(name: string): Promise<ReadFile> {
    return this.#disk.openRead(name);
  }
}

describe('segments that retention removes while somebody reads', () => {
  const left = new Map([...several.files()].filter(([name]) => name >= '00000004'));
  const reader = new JournalReader(new StaleList(MemoryDisk.of(left), names));

  test('were never there for a list, for an op, and for verifying', async () => {
    const listed = await reader.listOps();
    expect(listed.map(({ op_id: id }) => id)).toContain(opId(6));
    expect(await reader.readOp(opId(6))).toMatchObject({ kind: 'found' });
    expect(await reader.readOp('zzzz')).toEqual({ kind: 'none' });
    expect((await verifyJournal(reader)).problems).toEqual([]);
  });

  test('take no op with them that is in flight', async () => {
    const disk = new MemoryDisk();
    const journal = await startOn(disk, { segmentBytes: 1500 });
    for (const record of opStory(1, { end: null })) await journal.ledger.append(record);
    const pause = { untilMs: null, reason: 'x'.repeat(200) };
    while (journal.stats().segment < 4) await journal.ledger.note({ kind: 'pause', pause });
    await journal.close();
    const listed = ['00000001.jsonl', '00000002.jsonl'];
    for (const name of listed) await disk.remove(name);
    const racing = new JournalReader(new StaleList(disk, listed));
    expect(await racing.listOps()).toMatchObject([{ op_id: opId(1), state: 'task_running' }]);
  });

  test('are passed over by a tail that wants more lines than there are', async () => {
    const { signal } = new AbortController();
    const request = { lines: 1_000, follow: false, clock: tickingClock(), signal };
    const seen: number[] = [];
    for await (const { segment } of tailJournal(reader, request)) seen.push(segment);
    expect(Math.min(...seen)).toBe(4);
  });

  test('all of them: nothing is shown', async () => {
    const gone = new JournalReader(new StaleList(new MemoryDisk(), names));
    const { signal } = new AbortController();
    const request = { lines: 5, follow: false, clock: tickingClock(), signal };
    for await (const line of tailJournal(gone, request)) expect(line).toBeUndefined();
    expect(await gone.listOps()).toEqual([]);
  });

  test('is not what another failure of the disk means', async () => {
    const failing = async (kind: string): Promise<JournalReader> => {
      const disk = MemoryDisk.of(several.files());
      disk.faults = (call) => (call.kind === kind ? 'EIO' : null);
      return new JournalReader(disk);
    };
    const { signal } = new AbortController();
    const request = { lines: 5, follow: false, clock: tickingClock(), signal };
    await expect((await failing('list')).listOps()).rejects.toThrow('EIO');
    await expect((await failing('openRead')).listOps()).rejects.toThrow('EIO');
    const tail = tailJournal(await failing('openRead'), request);
    await expect(tail.next()).rejects.toThrow('EIO');
    await expect(verifyJournal(await failing('openRead'))).rejects.toThrow('EIO');
  });
});

describe('a tail', () => {
  const linesOf = async (lines: number, stopAfter: number): Promise<number> => {
    const controller = new AbortController();
    const request = { lines, follow: true, clock: tickingClock(), signal: controller.signal };
    let count = 0;
    if (stopAfter === 0) controller.abort();
    for await (const _ of tailJournal(new JournalReader(one), request)) {
      count += 1;
      if (count === stopAfter) controller.abort();
    }
    return count;
  };

  test('ends at once when it is told to, in the middle of what it has', async () => {
    expect(await linesOf(10, 3)).toBe(3);
  });

  test('that wants no lines begins behind the last', async () => {
    expect(await linesOf(0, 0)).toBe(0);
  });

  test.each([0, 5])('of %i lines of no journal shows nothing', async (lines) => {
    const { signal } = new AbortController();
    const request = { lines, follow: false, clock: tickingClock(), signal };
    const tail = tailJournal(new JournalReader(new MemoryDisk()), request);
    expect(await tail.next()).toMatchObject({ done: true });
  });
});

test('a disk that takes nothing more is an error, and an error without a code of its own is none', async () => {
  const file = {
    append: async () => 0,
    sync: async () => undefined,
    truncate: async () => undefined,
    close: async () => undefined,
  };
  await expect(appendAll(file, Buffer.from('line\n'))).rejects.toThrow(/took 0 of 5 bytes/);
  expect(errnoOf(Object.assign(new Error('x'), { code: 5 }))).toBeNull();
  expect(errnoOf('EIO')).toBeNull();
});

test('of two tasks of the same second the one that was forked later is the last', async () => {
  const journal = await startOn(new MemoryDisk());
  const later = upid(0x2000);
  const [, node, pid, , start, ...rest] = later.split(':');
  const earlier = ['UPID', node, pid, '00000001', start, ...rest].join(':') as typeof later;
  for (const each of [later, earlier]) {
    await journal.ledger.note({ kind: 'late_effect', vmid: vmid(101), upid: each });
  }
  expect(journal.ledger.lastUpid(vmid(101))).toBe(later);
  await journal.close();
});
