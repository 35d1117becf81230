/** One pass: observe, plan, gate, admit. Passes run one after another. */
import PQueue from 'p-queue';
import type { AttemptEnd } from './conclusion.ts';
import type { DesiredGuest, DesiredState } from './desired.ts';
import { NO_DESIRED_STATE } from './desired.ts';
import type { Problem } from './errors.ts';
import { type ActualState, type Guest, type NodeLook, type RunningTask, withHa } from './guest.ts';
import { type CorrelationId, makeCorrelationId, type Vmid } from './ids.ts';
import { FULL_LOOK_INTERVAL_MS, type NodeLookNeed } from './node-look.ts';
import type { Picture } from './picture.ts';
import { isReady, type Plan, type PlanEntry } from './plan.ts';
import { planGuests } from './planner.ts';
import type { Note } from './ports.ts';
import { type ReconcileTurnPorts, runReconcileTurn } from './reconcile-turn.ts';
import type { Upkeep } from './upkeep.ts';
import { withSlot } from './wait.ts';
import type { Workroom } from './workroom.ts';

export interface PassOptions {
  /** Only these guests are planned and admitted. */
  readonly only?: ReadonlySet<Vmid>;
  /** Its ops carry it as their correlation id. */
  readonly passId?: CorrelationId;
  /** Read every managed config, due or not. */
  readonly isFull?: boolean;
}

export interface PassPorts {
  readonly room: Workroom;
  readonly picture: Picture;
  readonly upkeep: Upkeep;
  readonly lookAtNode: (need: NodeLookNeed) => Promise<NodeLook>;
  readonly withoutOwn: (tasks: readonly RunningTask[]) => readonly RunningTask[];
  readonly mayStart: (vmid: Vmid) => Promise<boolean>;
  readonly ended: (end: AttemptEnd) => Promise<void>;
  /** Runs a lane's job; what it throws halts the engine. */
  readonly guarded: (vmid: Vmid, job: () => Promise<void>) => Promise<void>;
}

export class Passes {
  readonly #ports: PassPorts;
  readonly #turns = new PQueue({ concurrency: 1 });
  #desired: DesiredState = NO_DESIRED_STATE;
  /** The last look at quorum and HA that there was. */
  #node: NodeLook | null = null;
  #lastFullMs: number | null = null;

  constructor(ports: PassPorts) {
    this.#ports = ports;
  }

  pass(options: PassOptions): Promise<Plan> {
    return this.#turns.add(() => this.#runPass(options));
  }

  plan(options: Pick<PassOptions, 'only'>): Promise<Plan> {
    return this.#turns.add(async () => {
      const actual = await this.#observe(options, true);
      this.#ports.upkeep.noteBulkTasks(actual.bulkTasks);
      return this.#planWithNode(actual, options, true);
    });
  }

  /** The plan from what is known now, without a look. */
  planAgain(options: Pick<PassOptions, 'only'>): Plan {
    return this.#planNow(this.#ports.picture.actual, options, this.#node);
  }

  /** What was done changed a config that has not been read again (a start applies what pends). */
  hasUnread({ only }: Pick<PassOptions, 'only'>): boolean {
    return this.#ports.picture.unread(select(this.#desired, only)).length > 0;
  }

  wantedOf(vmid: Vmid): DesiredGuest | null {
    return this.#desired.guests.get(vmid) ?? null;
  }

  /** As last read, or read now if it was not: ops come in, and are taken up, before the first pass. */
  async findWanted(vmid: Vmid): Promise<DesiredGuest | null> {
    const { room } = this.#ports;
    if (this.#desired === NO_DESIRED_STATE) {
      const desired = await room.desired.read(room.signal);
      // A pass that has read it meanwhile has read it later.
      if (this.#desired === NO_DESIRED_STATE) this.#desired = desired;
    }
    return this.wantedOf(vmid);
  }

  /** The guest as last seen, or looked for now if it was not. */
  async findGuest(vmid: Vmid): Promise<Guest | Problem> {
    const { picture, room } = this.#ports;
    const known = picture.actual.guests.get(vmid);
    if (known !== undefined) return known;
    const request = { configs: new Set<Vmid>(), wanted: new Set([vmid]) };
    const actual = await room.guests.observe(request, room.signal);
    this.#ports.upkeep.noteBulkTasks(actual.bulkTasks);
    return actual.guests.get(vmid) ?? describeAbsence(vmid, actual);
  }

  async #runPass(options: PassOptions): Promise<Plan> {
    const { room, upkeep } = this.#ports;
    const startMs = room.clock.monotonicMs();
    const passId = options.passId ?? makeCorrelationId(room.random);
    const isFull = options.isFull === true || this.#isFullLookDue(startMs);
    const actual = await this.#observe(options, isFull);
    // Of a guest that is another one now nothing counts in what is heeded after.
    await this.#noteAll(upkeep.findReplaced(actual, room.ledger));
    await this.#noteAll(upkeep.heed(this.#desired, actual, room.ledger));
    const plan = await this.#planWithNode(actual, options, isFull);
    for (const entry of plan.entries) this.#admit(entry, passId);
    const durationMs = room.clock.monotonicMs() - startMs;
    room.events.emit({ kind: 'pass', passId, plan, durationMs });
    return plan;
  }

  /** They go to disk together. */
  async #noteAll(notes: readonly Note[]): Promise<void> {
    const { room } = this.#ports;
    await Promise.all(room.ledger.together(() => notes.map((note) => room.note(note))));
  }

  async #observe(options: Pick<PassOptions, 'only'>, isFull: boolean): Promise<ActualState> {
    const { room, picture } = this.#ports;
    const nowMs = room.clock.monotonicMs();
    this.#desired = await room.desired.read(room.signal);
    if (isFull && options.only === undefined) this.#lastFullMs = nowMs;
    const { intervalMs, configIntervalMs } = room.policy;
    const asked = select(this.#desired, options.only);
    const due = { nowMs, intervalMs, configIntervalMs, isFull };
    const configs = picture.configsDue(asked, due);
    const wanted = new Set(this.#desired.guests.keys());
    const look = await room.guests.observe({ configs, wanted }, room.signal);
    picture.update(look, nowMs);
    await this.#readUnread(asked, nowMs);
    return picture.actual;
  }

  /** The lists hinted at changes of configs that were not due: those are read now. */
  async #readUnread(asked: DesiredState, sinceMs: number): Promise<void> {
    const { room, picture } = this.#ports;
    const reads = picture.unread(asked).map(async (guest) => {
      const request = { guest, sinceMs, tasksSinceMs: null, config: true, details: false };
      const look = await room.guests.look(request, room.signal);
      if (look.kind === 'found') picture.remember(guest.vmid, look.guest, sinceMs);
    });
    await Promise.all(reads);
  }

  #isFullLookDue(nowMs: number): boolean {
    return this.#lastFullMs === null || nowMs - this.#lastFullMs >= FULL_LOOK_INTERVAL_MS;
  }

  /** Quorum and HA are asked only in a full look, and when something is about to be done. */
  async #planWithNode(
    actual: ActualState,
    options: Pick<PassOptions, 'only'>,
    isFull: boolean,
  ): Promise<Plan> {
    const fresh = isFull ? await this.#ports.lookAtNode('now') : null;
    const first = this.#planNow(actual, options, fresh);
    if (fresh !== null) this.#node = fresh;
    if (!first.entries.some(({ actions }) => actions.length > 0)) return first;
    this.#node = fresh ?? (await this.#ports.lookAtNode('for_an_action'));
    await this.#readPausable(first);
    return this.#planNow(this.#ports.picture.actual, options, this.#node);
  }

  /** Only a VM's own status says that it is paused, and then no shutdown may be planned. */
  async #readPausable(plan: Plan): Promise<void> {
    const { room, picture } = this.#ports;
    const sinceMs = room.clock.monotonicMs();
    const reads = plan.entries.map(async ({ vmid, kind, verdict, actions }) => {
      const stops = verdict.kind === 'go' && actions.some(({ action }) => action.kind === 'stop');
      if (!stops || kind !== 'qemu') return;
      const guest = { vmid, kind };
      const request = { guest, sinceMs, tasksSinceMs: null, config: false, details: true };
      const look = await room.guests.look(request, room.signal);
      if (look.kind === 'found') picture.remember(vmid, look.guest, sinceMs);
    });
    await Promise.all(reads);
  }

  #planNow(actual: ActualState, options: Pick<PassOptions, 'only'>, node: NodeLook | null): Plan {
    const tasks = this.#ports.withoutOwn(actual.tasks);
    const seen = { ...actual, tasks, guests: withHaOfAll(actual.guests, node) };
    return planGuests(
      select(this.#desired, options.only),
      seen,
      node,
      this.#ports.room.planContext(),
    );
  }

  #admit(planned: PlanEntry, passId: CorrelationId): void {
    const { vmid, kind } = planned;
    if (!isReady(planned) || kind === null) return;
    const { room, guarded } = this.#ports;
    const plannedFor = this.wantedOf(vmid);
    const take = (): Promise<void> => {
      const heldSinceMs = room.clock.monotonicMs();
      const turn = { guest: { vmid, kind }, passId, planned, plannedFor, heldSinceMs };
      return withSlot(vmid, room, () => runReconcileTurn(turn, this.#turnPorts(vmid)));
    };
    room.lanes.offerReconcile(vmid, () => guarded(vmid, take));
  }

  #turnPorts(vmid: Vmid): ReconcileTurnPorts {
    const { room, mayStart, ended, picture, upkeep } = this.#ports;
    return {
      room,
      ended,
      saw: (guest, sinceMs) => picture.remember(vmid, guest, sinceMs),
      wanted: () => this.wantedOf(vmid),
      isHaPossible: () => this.#node?.managed?.has(vmid) ?? true,
      isKnownStopped: () => upkeep.isKnownStopped(vmid),
      mayStart: () => mayStart(vmid),
    };
  }
}

function select(desired: DesiredState, only: ReadonlySet<Vmid> | undefined): DesiredState {
  if (only === undefined) return desired;
  const keep = <Value>(map: ReadonlyMap<Vmid, Value>): ReadonlyMap<Vmid, Value> =>
    new Map([...map].filter(([vmid]) => only.has(vmid)));
  return { ...desired, guests: keep(desired.guests), claimedTwice: keep(desired.claimedTwice) };
}

function withHaOfAll(
  guests: ReadonlyMap<Vmid, Guest>,
  node: NodeLook | null,
): ReadonlyMap<Vmid, Guest> {
  if (node === null || node.managed === null || node.managed.size === 0) return guests;
  const seen = new Map(guests);
  for (const vmid of node.managed.keys()) {
    const guest = seen.get(vmid);
    if (guest !== undefined) seen.set(vmid, withHa(guest, node));
  }
  return seen;
}

function describeAbsence(vmid: Vmid, actual: ActualState): Problem {
  const node = actual.elsewhere.get(vmid);
  if (node !== undefined)
    return { code: 'guest_moved', message: `guest ${vmid} is on node ${node}` };
  const list = [actual.qemu, actual.lxc].find(({ kind }) => kind === 'unknown');
  const problem = list?.kind === 'unknown' ? list.problem : actual.unseen.get(vmid);
  if (problem !== undefined) {
    const { code, message } = problem;
    // PVE not finding the node itself says nothing about the guest.
    return { code: code === 'not_found' ? 'service_unavailable' : code, message };
  }
  return { code: 'not_found', message: `PVE lists no guest ${vmid} on this node` };
}
