/**
 * The bytes of a journal. A line that states the sum `*` is sealed before it is read: so that what
 * lines say is searched too, and not only what a wrong sum leads to. A segment begins where a line
 * says so.
 */
import { sealLine, ZERO_SUM } from '../../../src/journal/line.ts';
import { JournalReader } from '../../../src/journal/reader.ts';
import { salvage } from '../../../src/journal/salvage.ts';
import { segmentName } from '../../../src/journal/segments.ts';
import { verifyJournal } from '../../../src/journal/verify.ts';
import { ReconcilerError } from '../../../src/reconcile/errors.ts';
import { NOTES, opStory, START_MS, startOn } from '../../support/journal-script.ts';
import { MemoryDisk } from '../../support/memory-disk.ts';
import { type FuzzTarget, insist } from '../target.ts';

const AT = new Date(START_MS).toISOString();
const UNSEALED = ',"sum":"*"}';

/** Several segments, every kind of record, an op in flight. */
async function writeSeed(): Promise<string> {
  const disk = new MemoryDisk();
  const journal = await startOn(disk, { segmentBytes: 2048 });
  for (const record of opStory(1, { origin: 'hub' })) await journal.ledger.append(record);
  for (const note of NOTES) await journal.ledger.note(note);
  for (const record of opStory(2, { end: 'failed' })) await journal.ledger.append(record);
  for (const record of opStory(3, { end: null })) await journal.ledger.append(record);
  await journal.close();
  const files = [...disk.files()].filter(([name]) => name.endsWith('.jsonl'));
  return files.map(([, bytes]) => bytes.toString()).join('');
}

function unseal(text: string): string {
  return text.replace(/,"sum":"[0-9a-f]{32}"\}/g, UNSEALED);
}

/** Its files. A sealed line is chained to the one before it, and so is a segment's first. */
function toFiles(input: Buffer): MemoryDisk {
  const files: Buffer[][] = [];
  let sum = ZERO_SUM;
  for (const line of splitLines(input)) {
    let text = line.toString('utf8');
    if (text.startsWith('{"type":"segment"') || files.length === 0) files.push([]);
    let bytes = line;
    if (text.endsWith(`${UNSEALED}\n`)) {
      text = text.replace(/"prev_sum":"[0-9a-f]*"/, `"prev_sum":"${sum}"`);
      const sealed = sealLine(`${text.slice(0, -UNSEALED.length - 1)}}`, sum);
      bytes = Buffer.from(sealed.text);
      sum = sealed.sum;
    }
    files.at(-1)?.push(bytes);
  }
  return MemoryDisk.of(
    files.map((lines, index) => [segmentName(index + 1), Buffer.concat(lines)] as const),
  );
}

function* splitLines(input: Buffer): Generator<Buffer> {
  for (let start = 0; start < input.length; ) {
    const newline = input.indexOf('\n', start);
    const end = newline === -1 ? input.length : newline + 1;
    yield input.subarray(start, end);
    start = end;
  }
}

/** False where it is refused, as the contract says: with a code, and for good. */
async function opens(disk: MemoryDisk): Promise<boolean> {
  try {
    const journal = await startOn(disk);
    journal.ledger.opsInFlight();
    await journal.close();
    return true;
  } catch (error) {
    if (!(error instanceof ReconcilerError)) throw error;
    insist(error.code === 'journal_corrupt', 'damage is called damage');
    insist(error.disposition === 'halt', 'a damaged journal ends the process');
    return false;
  }
}

export const target: FuzzTarget = {
  async seeds() {
    const sealed = await writeSeed();
    return [sealed, unseal(sealed)];
  },
  words: [
    UNSEALED,
    '{"type":"segment","format":1,',
    '{"type":"live_end"}',
    'received',
    'started',
    'task_running',
    'succeeded',
    'failed',
    'lost',
    '\n',
    '\0'.repeat(512),
  ],
  async run(input) {
    const disk = toFiles(input);
    const before = await verifyJournal(new JournalReader(disk));
    insist(before.ok === (before.problems.length === 0), 'what is wrong is said');
    const reader = new JournalReader(disk);
    for (const { op_id: opId } of await reader.listOps()) {
      const found = await reader.readOp(opId);
      insist(found.kind === 'found', 'an op that is listed is found');
    }
    const repaired = new MemoryDisk();
    await salvage(disk, repaired, AT);
    const after = await verifyJournal(new JournalReader(repaired));
    insist(after.ok, `a repaired journal verifies: ${JSON.stringify(after.problems[0])}`);
    insist(await opens(repaired), 'a repaired journal opens');
    const isOpened = await opens(disk);
    insist(isOpened || !before.ok || input.length === 0, 'a journal that verifies opens');
  },
};
