/** How long ops spend in each state, from their records as they come. Holds ops in flight only. */
import type { OpId } from '../../reconcile/ids.ts';
import { isTerminal, type OpRecord, type OpState } from '../../reconcile/op.ts';
import type { OpView } from '../../reconcile/ports.ts';

interface Known {
  readonly state: OpState;
  readonly atMs: number;
  /** `started` of the first attempt; null while it waits. */
  readonly begunMs: number | null;
}

export interface Step {
  readonly isNew: boolean;
  /** The state that has just ended, and how long it took; null: this is the first. */
  readonly phase: OpState | null;
  readonly phaseMs: number;
  /** From `received` to its first `started`. */
  readonly queuedMs: number | null;
  /** From its first `started` to its end. */
  readonly workedMs: number | null;
}

export class OpTimes {
  readonly #ops = new Map<OpId, Known>();

  /** `inFlight`: what was under way before the first record comes. */
  constructor(inFlight: readonly OpView[]) {
    for (const { opId, latest, latestAtMs, startedAtMs } of inFlight) {
      this.#ops.set(opId, { state: latest.state, atMs: latestAtMs, begunMs: startedAtMs });
    }
  }

  note({ op_id: opId, state, at }: OpRecord): Step {
    const atMs = Date.parse(at);
    const known = this.#ops.get(opId);
    const begunMs = known?.begunMs ?? (state === 'started' ? atMs : null);
    if (isTerminal(state)) this.#ops.delete(opId);
    else this.#ops.set(opId, { state, atMs, begunMs });
    const hasJustBegun = known?.begunMs === null && begunMs !== null;
    return {
      isNew: known === undefined,
      phase: known?.state ?? null,
      phaseMs: known === undefined ? 0 : Math.max(0, atMs - known.atMs),
      queuedMs: hasJustBegun ? Math.max(0, atMs - known.atMs) : null,
      workedMs: isTerminal(state) && begunMs !== null ? Math.max(0, atMs - begunMs) : null,
    };
  }
}
