/**
 * The agent's journal, the real one, on a disk in memory that outlives the agent: each `open` is a
 * start, `crash` is kill -9.
 */
import { createHmac } from 'node:crypto';
import { type Journal, startJournal } from '../../src/journal/journal.ts';
import type { Clock } from '../../src/reconcile/clock.ts';
import type { OpRecord } from '../../src/reconcile/op.ts';
import type { OpLedger } from '../../src/reconcile/ports.ts';
import { MemoryDisk } from './memory-disk.ts';
import { seededRandom } from './seeded-random.ts';

const OPENER = { pid: 1, host: 'pve1', boot_id: 'boot', started_at: '2026-11-20T12:00:00.000Z' };

export class KeptJournal {
  readonly #clock: Clock;
  readonly #random = seededRandom(2);
  #disk = new MemoryDisk();
  #journal: Journal | null = null;
  #wasClosed = true;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async open(): Promise<OpLedger> {
    this.#journal = await startJournal({
      disk: this.#disk,
      clock: this.#clock,
      random: this.#random,
      opener: OPENER,
      segmentBytes: 16 * 1024 * 1024,
      keepSegments: 64,
      keepForMs: 90 * 86_400_000,
      hashSecret: (text) => createHmac('sha256', 'of the state dir').update(text).digest('hex'),
      assertStillOwner: () => undefined,
      isTakeover: !this.#wasClosed,
      isSuspect: false,
      onHalt: () => undefined,
    });
    this.#wasClosed = false;
    return this.#journal.ledger;
  }

  async close(): Promise<void> {
    await this.#journal?.close();
    this.#journal = null;
    this.#wasClosed = true;
  }

  /** The process has died: what it had not written never is. */
  crash(): void {
    const dead = this.#disk;
    this.#disk = dead.afterKill();
    // The old writer still stands in memory here: nothing of it may reach the files any more.
    dead.faults = () => 'crash';
    this.#journal = null;
  }

  /** Every record of an op that is on the disk, in order. */
  get records(): readonly OpRecord[] {
    const files = [...this.#disk.files()].filter(([name]) => /^\d+\.jsonl$/.test(name));
    const text = files
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, bytes]) => bytes.toString())
      .join('');
    // A line that was torn off counts as little here as it does for the journal.
    const lines = text.split('\n').filter((line) => line.startsWith('{"type":"op",'));
    return lines.filter((line) => line.endsWith('}')).map((line) => JSON.parse(line) as OpRecord);
  }
}
