/**
 * Ops on their way through the lanes: queued, taken up again after a restart, cancelled while
 * they wait.
 */
import type { AttemptEnd } from './conclusion.ts';
import type { Problem } from './errors.ts';
import type { OpId, Vmid } from './ids.ts';
import { holdForOp } from './intake.ts';
import type { OpRecordDraft } from './op.ts';
import { runOpTurn } from './op-turn.ts';
import type { Surroundings } from './planner.ts';
import type { LookResult, OpView } from './ports.ts';
import type { Workroom } from './workroom.ts';

export interface OpQueuePorts {
  readonly room: Workroom;
  readonly surroundings: (look: Extract<LookResult, { kind: 'found' }>) => Promise<Surroundings>;
  /** Runs a lane's job; what it throws halts the engine. */
  readonly guarded: (vmid: Vmid, job: () => Promise<void>) => Promise<void>;
  readonly ended: (end: AttemptEnd) => void;
}

interface Progress {
  readonly cancel: AbortController;
  /** Its lane has taken it up. */
  isAtWork: boolean;
  /** Its `started` is being written: it can no longer be cancelled. */
  hasBegun: boolean;
}

function isWaiting({ latest }: OpView): boolean {
  return latest.state === 'received';
}

export class OpQueue {
  readonly #ports: OpQueuePorts;
  readonly #progress = new Map<OpId, Progress>();

  constructor(ports: OpQueuePorts) {
    this.#ports = ports;
  }

  enqueue(view: OpView): void {
    const { vmid } = view.first;
    const progress = this.#progressOf(view.opId);
    this.#ports.room.lanes.add(vmid, () =>
      this.#ports.guarded(vmid, async () => {
        if (!progress.cancel.signal.aborted) await this.#run(view, progress);
        this.#progress.delete(view.opId);
      }),
    );
  }

  async #run(view: OpView, progress: Progress): Promise<void> {
    const { room, surroundings, ended } = this.#ports;
    progress.isAtWork = true;
    const newest = room.ledger.findOp(view.opId) ?? view;
    ended(await runOpTurn(newest, { room, surroundings }));
  }

  /** Every op the journal says is in flight; what had begun before what only waited. */
  recover(): void {
    const { room, guarded } = this.#ports;
    const inFlight = room.ledger.opsInFlight();
    const ids = new Set(inFlight.map(({ opId }) => opId));
    const own = inFlight.filter(
      ({ first: { parent_op_id: parent } }) => !parent || !ids.has(parent),
    );
    for (const view of own.filter((each) => !isWaiting(each))) this.enqueue(view);
    for (const view of own.filter(isWaiting)) {
      this.enqueue(view);
      const { hold_until_ms: untilMs, vmid } = view.first;
      // The agent may have died between `received` and the hold it asked for.
      if (untilMs === undefined || room.ledger.holds().has(vmid)) continue;
      void guarded(vmid, () => holdForOp(view.first, untilMs, room));
    }
  }

  /** Null: it is, or is about to be, `cancelled`. */
  async cancel(opId: OpId): Promise<Problem | null> {
    const { room } = this.#ports;
    const view = room.ledger.findOp(opId);
    if (view === null) return { code: 'not_found', message: `no op ${opId} is known` };
    if (!isWaiting(view) || this.#progressOf(opId).hasBegun) {
      const message = `op ${opId} has begun (${view.latest.state}); nothing is stopped in PVE`;
      return { code: 'conflict', message };
    }
    const progress = this.#progressOf(opId);
    if (progress.cancel.signal.aborted) return null;
    progress.cancel.abort();
    if (progress.isAtWork) return null; // its lane writes the record
    const error: Problem = { code: 'cancelled', message: 'cancelled before it began' };
    const { type: _type, seq: _seq, at: _at, ...first } = view.first;
    await room.record({ ...first, state: 'failed', error });
    return null;
  }

  cancelSignal(opId: OpId): AbortSignal {
    return this.#progressOf(opId).cancel.signal;
  }

  /** Called as a record is about to be written. */
  noteRecord(draft: OpRecordDraft): void {
    const progress = this.#progress.get(draft.op_id);
    if (progress !== undefined && draft.state === 'started') progress.hasBegun = true;
  }

  #progressOf(opId: OpId): Progress {
    const known = this.#progress.get(opId);
    if (known !== undefined) return known;
    const made = { cancel: new AbortController(), isAtWork: false, hasBegun: false };
    this.#progress.set(opId, made);
    return made;
  }
}
