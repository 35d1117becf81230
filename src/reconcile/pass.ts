/** One pass: observe, plan, gate, admit. Passes run one after another. */
import PQueue from 'p-queue';
import type { AttemptEnd } from './conclusion.ts';
import type { DesiredGuest, DesiredState } from './desired.ts';
import { NO_DESIRED_STATE } from './desired.ts';
import type { Problem } from './errors.ts';
import type { ActualState, Guest, NodeLook } from './guest.ts';
import { type CorrelationId, makeCorrelationId, type Vmid } from './ids.ts';
import type { Op } from './op-shape.ts';
import type { Picture } from './picture.ts';
import type { Plan, PlanEntry } from './plan.ts';
import { type PlanContext, planGuests, type Surroundings } from './planner.ts';
import type { LookResult } from './ports.ts';
import { type ReconcileTurnPorts, runReconcileTurn } from './reconcile-turn.ts';
import { findUpkeep, strangers } from './upkeep.ts';
import type { Workroom } from './workroom.ts';

/** However quiet it is, everything is read again this often: hints may be missed. */
const FULL_LOOK_INTERVAL_MS = 10 * 60_000;

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
  readonly context: () => PlanContext;
  readonly lookAtNode: () => Promise<NodeLook>;
  readonly surroundings: (look: Extract<LookResult, { kind: 'found' }>) => Promise<Surroundings>;
  readonly mayStart: (vmid: Vmid) => Promise<boolean>;
  readonly ended: (op: Op, end: AttemptEnd) => Promise<void>;
  /** Runs a lane's job; what it throws halts the engine. */
  readonly guarded: (vmid: Vmid, job: () => Promise<void>) => Promise<void>;
}

export class Passes {
  readonly #ports: PassPorts;
  readonly #turns = new PQueue({ concurrency: 1 });
  #desired: DesiredState = NO_DESIRED_STATE;
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
      const actual = await this.#observe({ ...options, isFull: true });
      return this.#planWithNode(actual, options);
    });
  }

  /** The plan from what is known now, without a look. */
  planAgain(options: Pick<PassOptions, 'only'>): Plan {
    const { actual } = this.#ports.picture;
    return actual === null ? { entries: [] } : this.#planNow(actual, options);
  }

  wantedOf(vmid: Vmid): DesiredGuest | null {
    return this.#desired.guests.get(vmid) ?? null;
  }

  /** The guest as last seen, or looked for now if it was not. */
  async findGuest(vmid: Vmid): Promise<Guest | Problem> {
    const { picture, room } = this.#ports;
    const known = picture.actual?.guests.get(vmid);
    if (known !== undefined) return known;
    const actual = await room.guests.observe(
      { configs: new Set(), wanted: new Set([vmid]) },
      room.signal,
    );
    return actual.guests.get(vmid) ?? describeAbsence(vmid, actual);
  }

  async #runPass(options: PassOptions): Promise<Plan> {
    const { room, picture } = this.#ports;
    const startMs = room.clock.monotonicMs();
    const passId = options.passId ?? makeCorrelationId(room.random);
    const before = picture.actual;
    const actual = await this.#observe(options);
    const upkeep = { desired: this.#desired, before, actual, ledger: room.ledger };
    for (const note of findUpkeep(upkeep)) await room.ledger.note(note);
    const plan = await this.#planWithNode(actual, options);
    for (const entry of plan.entries) this.#admit(entry, passId);
    const durationMs = room.clock.monotonicMs() - startMs;
    room.events.emit({ kind: 'pass', passId, plan, durationMs });
    return plan;
  }

  async #observe(options: PassOptions): Promise<ActualState> {
    const { room, picture } = this.#ports;
    const nowMs = room.clock.monotonicMs();
    this.#desired = await room.desired.read(room.signal);
    const isFull = options.isFull === true || this.#isFullLookDue(nowMs);
    if (isFull) this.#lastFullMs = nowMs;
    const configs = picture.configsDue(select(this.#desired, options.only), {
      nowMs,
      intervalMs: room.policy.intervalMs,
      configIntervalMs: room.policy.configIntervalMs,
      isFull,
    });
    const wanted = new Set(this.#desired.guests.keys());
    const look = await room.guests.observe({ configs, wanted }, room.signal);
    return picture.update(look, nowMs);
  }

  #isFullLookDue(nowMs: number): boolean {
    return this.#lastFullMs === null || nowMs - this.#lastFullMs >= FULL_LOOK_INTERVAL_MS;
  }

  /** Quorum and HA are asked only when something is about to be done, or shown. */
  async #planWithNode(actual: ActualState, options: PassOptions): Promise<Plan> {
    this.#node = null;
    const first = this.#planNow(actual, options);
    if (!first.entries.some(({ actions }) => actions.length > 0)) return first;
    this.#node = await this.#ports.lookAtNode();
    return this.#planNow(actual, options);
  }

  #planNow(actual: ActualState, options: Pick<PassOptions, 'only'>): Plan {
    const tasks = strangers(actual.tasks, this.#ports.room.ledger);
    const seen = { ...actual, tasks, guests: withHa(actual.guests, this.#node) };
    return planGuests(select(this.#desired, options.only), seen, this.#node, this.#ports.context());
  }

  #admit(planned: PlanEntry, passId: CorrelationId): void {
    const { vmid, kind, verdict, actions } = planned;
    if (verdict.kind !== 'go' || actions.length === 0 || kind === null) return;
    const { room, guarded } = this.#ports;
    const turn = { guest: { vmid, kind }, passId, planned };
    const job = (): Promise<void> =>
      room.lanes.withSlot(() => runReconcileTurn(turn, this.#turnPorts(vmid)));
    room.lanes.offerReconcile(vmid, () => guarded(vmid, job));
  }

  #turnPorts(vmid: Vmid): ReconcileTurnPorts {
    const { room, context, surroundings, mayStart, ended } = this.#ports;
    return {
      room,
      context,
      surroundings,
      ended,
      wanted: () => this.wantedOf(vmid),
      isHaPossible: () => this.#node?.managed?.has(vmid) ?? true,
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

/** What the node look knows of HA, put beside each guest. */
function withHa(guests: ReadonlyMap<Vmid, Guest>, node: NodeLook | null): ReadonlyMap<Vmid, Guest> {
  const managed = node?.managed;
  if (managed === null || managed === undefined || managed.size === 0) return guests;
  const seen = new Map(guests);
  for (const [vmid, state] of managed) {
    const guest = seen.get(vmid);
    if (guest?.ha.kind === 'not_read') seen.set(vmid, { ...guest, ha: { kind: 'managed', state } });
  }
  return seen;
}

function describeAbsence(vmid: Vmid, actual: ActualState): Problem {
  const node = actual.elsewhere.get(vmid);
  if (node !== undefined)
    return { code: 'guest_moved', message: `guest ${vmid} is on node ${node}` };
  for (const list of [actual.qemu, actual.lxc]) {
    if (list.kind === 'unknown') {
      return { code: 'service_unavailable', message: list.problem.message };
    }
  }
  return { code: 'not_found', message: `PVE lists no guest ${vmid} on this node` };
}
