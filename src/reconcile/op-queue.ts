/**
 * Ops on their way through the lanes: queued, taken up again after a restart, cancelled while
 * they wait.
 */
import type { AttemptEnd } from './conclusion.ts';
import type { Problem } from './errors.ts';
import type { OpId, Vmid } from './ids.ts';
import { isTerminal } from './op.ts';
import { opFromRecord, recordBase } from './op-shape.ts';
import { CANCELLED, runOpTurn } from './op-turn.ts';
import type { OpView } from './ports.ts';
import type { Workroom } from './workroom.ts';

export interface OpQueuePorts {
  readonly room: Workroom;
  /** Runs a lane's job; what it throws halts the engine. */
  readonly guarded: (vmid: Vmid, job: () => Promise<void>) => Promise<void>;
  readonly ended: (end: AttemptEnd) => Promise<void>;
}

interface Queued {
  readonly vmid: Vmid;
  readonly opId: OpId;
  /** Monotonic; null: an earlier life has taken it in. */
  readonly takenMs: number | null;
}

interface Progress {
  readonly cancel: AbortController;
  /** Its lane has taken it up. */
  isAtWork: boolean;
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

  /**
   * Takes the op's place in its lane at once, and runs it once it is `received`, if the ledger knows
   * it then: what could not be written never was.
   */
  enqueue(vmid: Vmid, opId: OpId, received: Promise<void>): void {
    this.#enqueue({ vmid, opId, takenMs: this.#ports.room.clock.monotonicMs() }, received);
  }

  #enqueue({ vmid, opId, takenMs }: Queued, received: Promise<void>): void {
    const { room, guarded } = this.#ports;
    const progress = this.#progressOf(opId);
    room.lanes.add(vmid, async () => {
      await received;
      const view = room.ledger.findOp(opId);
      if (view !== null) await guarded(vmid, () => this.#run(view, takenMs, progress));
      this.#progress.delete(opId);
    });
  }

  async #run(view: OpView, takenMs: number | null, progress: Progress): Promise<void> {
    if (progress.cancel.signal.aborted) return;
    const { room, ended } = this.#ports;
    progress.isAtWork = true;
    const end = await runOpTurn(view, takenMs, room);
    if (end !== null) await ended(end);
  }

  /** Every op the journal says is in flight; what had begun before what only waited. */
  recover(): void {
    const inFlight = this.#ports.room.ledger.opsInFlight();
    const ids = new Set(inFlight.map(({ opId }) => opId));
    const own = inFlight.filter(
      ({ first: { parent_op_id: parent } }) => !parent || !ids.has(parent),
    );
    const [waiting, begun] = [own.filter(isWaiting), own.filter((view) => !isWaiting(view))];
    for (const view of [...begun, ...waiting]) {
      const queued = { vmid: view.first.vmid, opId: view.opId, takenMs: null };
      this.#enqueue(queued, Promise.resolve());
    }
  }

  /** Null: it is `cancelled`, and that is durable: no later life runs it. */
  async cancel(opId: OpId): Promise<Problem | null> {
    const { room } = this.#ports;
    const view = room.ledger.findOp(opId);
    if (view === null) return { code: 'not_found', message: `no op ${opId} is known` };
    if (!isWaiting(view)) {
      const { state } = view.latest;
      const message = isTerminal(state)
        ? `op ${opId} has ended (${state})`
        : `op ${opId} has begun (${state}); nothing is stopped in PVE`;
      return { code: 'conflict', message };
    }
    const op = opFromRecord(view.first);
    const ended = room.record({ ...recordBase(op), attempt: 0, state: 'failed', error: CANCELLED });
    // Its lane, which may be waiting or looking for it, lets go.
    this.#progressOf(opId).cancel.abort();
    await ended;
    return null;
  }

  /** Its lane is at it: after a failed attempt another may follow. */
  isAtWork(opId: OpId): boolean {
    return this.#progress.get(opId)?.isAtWork ?? false;
  }

  cancelSignal(opId: OpId): AbortSignal {
    return this.#progressOf(opId).cancel.signal;
  }

  #progressOf(opId: OpId): Progress {
    const known = this.#progress.get(opId);
    if (known !== undefined) return known;
    const made = { cancel: new AbortController(), isAtWork: false };
    this.#progress.set(opId, made);
    return made;
  }
}
