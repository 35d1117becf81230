/**
 * What the agent remembers about guests between passes: pauses after failures (in memory), and
 * through the journal holds, starts done, secrets applied.
 */
import { hasStarted } from './completion.ts';
import type { AttemptEnd, FailedEnd } from './conclusion.ts';
import type { DesiredGuest } from './desired.ts';
import type { Problem } from './errors.ts';
import { findHold, holdsOfOps, unlessOver } from './hold.ts';
import type { Vmid } from './ids.ts';
import type { Op } from './op-shape.ts';
import type { PlanContext } from './planner.ts';
import type { CorePorts, Note } from './ports.ts';
import {
  BACKOFF_MAX_MS,
  BACKOFF_RESET_MS,
  type Backoff,
  isFlapping,
  nextBackoff,
} from './retry.ts';
import type { UnsettledRequests } from './unsettled.ts';

interface MemoryPorts
  extends Pick<CorePorts, 'clock' | 'random' | 'ledger' | 'policy' | 'semantics'> {
  readonly unsettled: UnsettledRequests;
}

export class Memory {
  readonly #ports: MemoryPorts;
  readonly #isPatient: () => boolean;
  readonly #backoffs = new Map<Vmid, Backoff>();

  /** `isPatient` false: the run ends by itself, and what failed in it is not tried again in it. */
  constructor(ports: MemoryPorts, isPatient: () => boolean) {
    this.#ports = ports;
    this.#isPatient = isPatient;
  }

  /** What the planner is to know, as of now. */
  context(): PlanContext {
    const { ledger, policy, semantics, unsettled } = this.#ports;
    const byOps = holdsOfOps(ledger.opsInFlight());
    return {
      semantics,
      policy,
      pause: unlessOver(ledger.pause(), this.#ports.clock.now()),
      memoryOf: (vmid) => ({
        hold: findHold(vmid, this.#ports) ?? byOps.get(vmid) ?? null,
        isInitialDone: ledger.isInitialDone(vmid),
        backoff: this.#backoffOf(vmid),
        unsettled: unsettled.of(vmid),
      }),
      isSecretApplied: (vmid, key, value) =>
        ledger.appliedSecret(vmid, key) === ledger.hashSecret(value),
    };
  }

  #backoffOf(vmid: Vmid): Backoff | null {
    const backoff = this.#backoffs.get(vmid);
    if (backoff === undefined) return null;
    if (!this.#isPatient()) return backoff;
    const leftMs = backoff.untilMs - this.#ports.clock.now();
    // No pause is that long: the clock was set back.
    if (leftMs < -BACKOFF_RESET_MS || leftMs > BACKOFF_MAX_MS) this.#backoffs.delete(vmid);
    return leftMs > 0 && leftMs <= BACKOFF_MAX_MS ? backoff : null;
  }

  /** A failure of reconciling's own makes it wait; others' ops are theirs to repeat. */
  noteFailure({ attempt: { op }, outcome: { error } }: FailedEnd): void {
    // A stale digest means that somebody was faster: there is nothing to wait for.
    if (op.origin !== 'reconcile' || error.code === 'digest_stale') return;
    this.#backOff(op, error);
  }

  /** What the agent's own end cut off charges nothing (J7); what PVE had begun and failed, does. */
  noteRecovered(end: AttemptEnd): void {
    if (end.kind === 'failed' && end.outcome.error.code !== 'interrupted') this.noteFailure(end);
  }

  #backOff({ vmid, action }: Op, error: Problem): void {
    const { clock, random } = this.#ports;
    const reason = `${action.kind} failed: ${error.message}`;
    const previous = this.#backoffs.get(vmid);
    this.#backoffs.set(vmid, nextBackoff(previous, clock.now(), reason, random));
  }

  /** All of it is appended before this returns: it goes to disk with the end it is called for. */
  noteSuccess(end: AttemptEnd, wanted: DesiredGuest | null): Promise<unknown> {
    const { op } = end.attempt;
    const secrets =
      op.action.kind === 'set_config' ? this.#secretNotes(op, op.action.params.set) : [];
    return Promise.all([
      this.noteStart(end, wanted),
      ...secrets.map((note) => this.#ports.ledger.note(note)),
    ]);
  }

  /** Whoever asked for it, and whatever the guest has done since: it was the one start. */
  async noteStart(
    { attempt: { op }, outcome }: AttemptEnd,
    wanted: DesiredGuest | null,
  ): Promise<void> {
    const isStart = hasStarted({ kind: op.action.kind, ...outcome });
    if (!isStart || wanted?.power !== 'initial') return;
    await this.#ports.ledger.note({ kind: 'initial_done', vmid: op.vmid });
  }

  #secretNotes({ vmid, guestKind }: Op, set: Readonly<Record<string, string>>): Note[] {
    const { ledger, semantics } = this.#ports;
    return Object.entries(set)
      .filter(([key]) => semantics.isWriteOnly(guestKind, key))
      .map(([key, value]) => {
        return { kind: 'secret_applied', vmid, key, hash: ledger.hashSecret(value) };
      });
  }

  /** A guest that needs start after start is left to a person, and stays so over a restart. */
  async mayStart(vmid: Vmid): Promise<boolean> {
    const { ledger, clock } = this.#ports;
    if (!isFlapping(ledger.recentStarts(vmid), clock.now())) return true;
    const reason = 'flapping: it needed too many starts within ten minutes';
    await ledger.note({ kind: 'hold', hold: { vmid, untilMs: null, reason } });
    return false;
  }

  /** Somebody has looked: the guest may be acted on at once. */
  forgive(vmid: Vmid): void {
    this.#backoffs.delete(vmid);
  }
}
