/**
 * The engine: passes over the node, lanes that do the work, one way in for ops, recovery. It owns
 * no timer and no loop: the daemon (or a simulation) calls `pass`.
 *
 * Invariants
 * - E1 At most one op works on a guest at a time; its lane is held from first look to last record.
 * - E2 Nothing is sent on a picture older than the lane's own look.
 * - E3 Every op ends in exactly one terminal record of its latest attempt.
 * - E4 What cannot be seen is waited for, never guessed.
 */
import type { AttemptEnd } from './conclusion.ts';
import { recoverUnsettled } from './cut-off.ts';
import { type Problem, ReconcilerError } from './errors.ts';
import type { Wait } from './events.ts';
import { type Guest, type RunningTask, runningBulkTasks } from './guest.ts';
import { noteHoldOf, putOnHold } from './hold.ts';
import type { OpId, Upid, Vmid } from './ids.ts';
import { Intake, type OpRequest, type SubmitResult } from './intake.ts';
import { createLanes, type Lanes } from './lanes.ts';
import { Memory } from './memory.ts';
import { KeptNodeLook, type NodeLookNeed } from './node-look.ts';
import { isTerminal, type OpRecord, type OpRecordDraft } from './op.ts';
import { OpQueue } from './op-queue.ts';
import { Passes, type PassOptions } from './pass.ts';
import { createPicture, type Picture } from './picture.ts';
import { isReady, type Plan } from './plan.ts';
import type { Surroundings } from './planner.ts';
import type { CorePorts, Note, Pause } from './ports.ts';
import { UnsettledRequests } from './unsettled.ts';
import { strangers, Upkeep } from './upkeep.ts';
import type { Found, Workroom } from './workroom.ts';

/** A guest takes a pass or two; whoever writes configs against us must not keep us for ever. */
export const CONVERGE_PASSES_MAX = 10;

export class Engine {
  readonly #ports: CorePorts;
  readonly #controller = new AbortController();
  readonly #lanes: Lanes;
  readonly #picture: Picture = createPicture();
  readonly #upkeep = new Upkeep();
  /** By guest, the task that its last op ended with. */
  readonly #endedTasks = new Map<Vmid, Upid>();
  readonly #waits = new Map<Vmid, Wait>();
  readonly #room: Workroom;
  readonly #unsettled: UnsettledRequests;
  readonly #memory: Memory;
  readonly #queue: OpQueue;
  readonly #passes: Passes;
  readonly #intake: Intake;
  readonly #nodeLook: KeptNodeLook;
  #isPatient = true;
  #steps = 0;

  constructor(ports: CorePorts) {
    this.#ports = ports;
    this.#lanes = createLanes({ maxParallel: ports.policy.maxParallel });
    this.#unsettled = new UnsettledRequests(ports.clock);
    const unsettled = this.#unsettled;
    this.#memory = new Memory({ ...ports, unsettled }, () => this.#isPatient);
    const { signal } = this.#controller;
    this.#nodeLook = new KeptNodeLook(ports.clock, () => ports.guests.lookAtNode(signal));
    const room = this.#workroom();
    this.#room = room;
    const guarded = this.#guarded.bind(this);
    this.#queue = new OpQueue({ room, guarded, ended: this.#noteRecovered.bind(this) });
    this.#passes = new Passes({
      room,
      guarded,
      picture: this.#picture,
      upkeep: this.#upkeep,
      lookAtNode: (need) => this.#nodeLook.get(need),
      withoutOwn: this.#withoutOwn.bind(this),
      mayStart: (vmid) => this.#memory.mayStart(vmid),
      ended: this.#noteReconciled.bind(this),
    });
    this.#intake = new Intake({
      room,
      findGuest: (vmid) => this.#passes.findGuest(vmid),
      enqueue: (vmid, opId, received) => this.#queue.enqueue(vmid, opId, received),
    });
  }

  /** Takes up every op the journal says is in flight. Call once, before the first pass. */
  recover(): void {
    recoverUnsettled(this.#room);
    this.#queue.recover();
  }

  /** One look, plan, gate and admission; lanes work on after it resolves. */
  pass(options: PassOptions = {}): Promise<Plan> {
    return this.#passes.pass(options);
  }

  /** Looks and plans; changes nothing and notes nothing. */
  plan(options: Pick<PassOptions, 'only'> = {}): Promise<Plan> {
    return this.#passes.plan(options);
  }

  /**
   * Passes until nothing more can be done now; resolves with the plan that is left. What waits for
   * a guard is left waiting, and a failed task is not tried again. Where PVE does not answer at
   * all it does not wait for ops in flight either: they stay so.
   */
  async converge(options: PassOptions = {}): Promise<Plan> {
    this.#isPatient = false;
    for (let passes = 1; ; passes++) {
      const plan = await this.#passes.pass({ ...options, isFull: true });
      if (this.#isBlind()) return plan;
      await this.#lanes.idle();
      this.#controller.signal.throwIfAborted();
      const left = this.#passes.planAgain(options);
      const isSettled = !left.entries.some(isReady) && !this.#passes.hasUnread(options);
      if (passes >= CONVERGE_PASSES_MAX || isSettled) return left;
    }
  }

  #isBlind(): boolean {
    const { qemu, lxc } = this.#picture.actual;
    return qemu.kind === 'unknown' && lxc.kind === 'unknown';
  }

  submit(request: OpRequest): Promise<SubmitResult> {
    return this.#intake.submit(request);
  }

  /** Queued: ends it as `cancelled`. Begun: a conflict, and nothing is stopped in PVE. */
  cancel(opId: OpId): Promise<Problem | null> {
    return this.#queue.cancel(opId);
  }

  /** Its lane is at it: after a failed attempt another may follow. */
  isAtWork(opId: OpId): boolean {
    return this.#queue.isAtWork(opId);
  }

  /** Steps of ops recorded so far: whether anything was done since somebody looked. */
  get steps(): number {
    return this.#steps;
  }

  /** Why each waiting lane waits. */
  waits(): ReadonlyMap<Vmid, Wait> {
    return this.#waits;
  }

  /** As a person asks: reconciling leaves the guest alone. */
  hold(vmid: Vmid, pause: Pause): Promise<void> {
    return putOnHold(vmid, pause, this.#ports);
  }

  /** Forgets the failures of a guest: somebody has looked. */
  forgive(vmid: Vmid): void {
    this.#memory.forgive(vmid);
  }

  /** The guest as last seen. */
  lastSeen(vmid: Vmid): Guest | undefined {
    return this.#picture.actual.guests.get(vmid);
  }

  /** Resolves when no lane, or none of these guests', has work. */
  idle(vmids?: ReadonlySet<Vmid>): Promise<void> {
    return this.#lanes.idle(vmids);
  }

  /** Ends every wait; ops stay in the journal as they are and no attempt is charged (J7). */
  async stop(): Promise<void> {
    this.#controller.abort(new ReconcilerError('interrupted', 'the agent is stopping'));
    await this.#lanes.idle();
  }

  #workroom(): Workroom {
    return {
      ...this.#ports,
      lanes: this.#lanes,
      signal: this.#controller.signal,
      isPatient: () => this.#isPatient,
      surroundings: this.#surroundings.bind(this),
      findWanted: (vmid) => this.#passes.findWanted(vmid),
      planContext: () => this.#memory.context(),
      showWait: this.#showWait.bind(this),
      cancelSignal: (opId) => this.#queue.cancelSignal(opId),
      record: this.#record.bind(this),
      unsettled: this.#unsettled,
      note: this.#note.bind(this),
    };
  }

  #showWait(vmid: Vmid, wait: Wait | null): void {
    if (wait === null && !this.#waits.has(vmid)) return;
    if (wait === null) this.#waits.delete(vmid);
    else this.#waits.set(vmid, wait);
    this.#ports.events.emit({ kind: 'waiting', vmid, wait });
  }

  async #record(draft: OpRecordDraft): Promise<OpRecord> {
    this.#steps += 1;
    const both = (): readonly [Promise<void>, Promise<OpRecord>] => [
      noteHoldOf(draft, this.#ports),
      this.#append(draft),
    ];
    const [, record] = await Promise.all(this.#ports.ledger.together(both));
    return record;
  }

  /** Announced as it is durable, so in the order of the records. */
  async #append(draft: OpRecordDraft): Promise<OpRecord> {
    const record = await this.#ports.ledger.append(draft);
    if (isTerminal(record.state) && record.upid !== undefined) {
      this.#endedTasks.set(record.vmid, record.upid);
    }
    this.#ports.events.emit({ kind: 'op', record });
    return record;
  }

  async #surroundings(look: Found, need: NodeLookNeed): Promise<Surroundings> {
    return {
      tasks: this.#withoutOwn(look.tasks),
      bulkTasks: runningBulkTasks(look.tasks),
      node: await this.#nodeLook.get(need),
    };
  }

  #withoutOwn(tasks: readonly RunningTask[]): readonly RunningTask[] {
    return strangers(tasks, this.#ports.ledger, this.#endedTasks);
  }

  #note(note: Note): Promise<void> {
    if (note.kind === 'forget_guest') this.#memory.forgive(note.vmid);
    return this.#ports.ledger.note(note);
  }

  /** A lane's job never rejects: a stop leaves the op to recovery, anything else halts. */
  async #guarded(vmid: Vmid, job: () => Promise<void>): Promise<void> {
    const { signal } = this.#controller;
    if (signal.aborted) return;
    try {
      await job();
    } catch (error) {
      if (signal.aborted) return;
      this.#controller.abort(new ReconcilerError('interrupted', 'the engine has halted'));
      this.#ports.events.emit({ kind: 'halted', error });
    } finally {
      this.#showWait(vmid, null);
    }
  }

  async #noteReconciled(end: AttemptEnd): Promise<void> {
    this.#remember(end);
    const wanted = this.#passes.wantedOf(end.attempt.op.vmid);
    if (end.kind === 'failed') {
      this.#memory.noteFailure(end);
      await this.#memory.noteStart(end, wanted);
    } else await this.#memory.noteSuccess(end, wanted);
  }

  async #noteRecovered(end: AttemptEnd): Promise<void> {
    this.#remember(end);
    this.#memory.noteRecovered(end);
    // No pass may have read it yet.
    await this.#memory.noteStart(end, await this.#passes.findWanted(end.attempt.op.vmid));
  }

  #remember({ attempt: { op, number }, seen, kind }: AttemptEnd): void {
    if (kind === 'failed' && number > 0) this.#nodeLook.forget();
    if (seen === 'not_looked') return;
    const guest = seen === 'gone' ? null : seen;
    this.#picture.remember(op.vmid, guest, this.#ports.clock.monotonicMs());
    if (guest === null || kind === 'failed' || op.action.kind === 'set_config') return;
    this.#upkeep.noteOwnChange(op.vmid, guest.power);
  }
}
