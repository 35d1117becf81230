/**
 * Which guests were on hold by a note in the journal, and when: told of a hold
 * once it is durable, and of its end as soon as the agent knows of it.
 */
import type { Note } from '../../src/reconcile/ports.ts';

interface Change {
  readonly atMs: number;
  /** Wall clock; null: until somebody resumes; undefined: no hold any more. */
  readonly untilMs: number | null | undefined;
}

const ALL = 0;

export class Holds {
  readonly #elapsedMs: () => number;
  /** By guest; under `ALL` the pause of the whole agent. */
  readonly #changes = new Map<number, Change[]>();

  constructor(elapsedMs: () => number) {
    this.#elapsedMs = elapsedMs;
  }

  /**
   * A note that is about to be written: what was in force before it no longer counts. Returns what
   * `take` is to be given.
   */
  release(note: Note): number {
    switch (note.kind) {
      case 'hold':
        return this.#add(note.hold.vmid, undefined);
      case 'resume_guest':
      case 'forget_guest':
        return this.#add(note.vmid, undefined);
      case 'pause':
      case 'resume':
        return this.#add(ALL, undefined);
      default:
        return 0;
    }
  }

  /**
   * A note that is durable. Another may have been written behind it meanwhile, in the same sync: then
   * it is that one that counts.
   */
  take(note: Note, since: number): void {
    if (note.kind === 'hold') this.#takeUnlessChanged(note.hold.vmid, note.hold.untilMs, since);
    if (note.kind === 'pause') this.#takeUnlessChanged(ALL, note.pause.untilMs, since);
  }

  #takeUnlessChanged(vmid: number, untilMs: number | null, since: number): void {
    if (this.#changes.get(vmid)?.length === since) this.#add(vmid, untilMs);
  }

  /** Returns how many changes there have been. */
  #add(vmid: number, untilMs: number | null | undefined): number {
    const changes = this.#changes.get(vmid) ?? [];
    changes.push({ atMs: this.#elapsedMs(), untilMs });
    this.#changes.set(vmid, changes);
    return changes.length;
  }

  /** A hold with an end may have been dropped by the other time. */
  forgetTimed(): void {
    for (const [vmid, changes] of this.#changes) {
      const isTimed = typeof changes.at(-1)?.untilMs === 'number';
      if (isTimed) this.#add(vmid, undefined);
    }
  }

  /** `nowMs`: the wall clock. */
  isHeldThroughout(vmid: number, sinceMs: number, nowMs: number): boolean {
    return [vmid, ALL].some((each) => {
      const changes = this.#changes.get(each) ?? [];
      const first = changes.findLastIndex(({ atMs }) => atMs < sinceMs);
      if (first === -1) return false;
      return changes.slice(first).every(({ untilMs }) => {
        return untilMs === null || (untilMs !== undefined && untilMs > nowMs);
      });
    });
  }
}
