/**
 * Stands beside the wire, the node and the journal while the agent works, and checks what can be
 * checked at that instant: each request as it is sent, each task as it begins, each end as it is
 * written.
 */
import type { SealedOp } from '../../src/journal/op-record.ts';
import type { DesiredGuest } from '../../src/reconcile/desired.ts';
import { assertNever } from '../../src/reconcile/errors.ts';
import { HOLD_TAG } from '../../src/reconcile/guards.ts';
import { isTerminal, type OpRecordDraft } from '../../src/reconcile/op.ts';
import { isAsAsked } from '../support/fulfilment.ts';
import { AGENT_TOKEN, type SentRequest } from '../support/model/api.ts';
import { SECRET_KEY } from '../support/model/guest.ts';
import type { ModelTask } from '../support/model/tasks.ts';
import type { SimWorld } from './sim-world.ts';
import type { GuestTruth } from './truth.ts';

/** What the agent says of a guest it saw at most this much earlier, besides what is slow. */
const SLACK_MS = 1_000;

/** What PVE was stuck with begins by then, and has ended a while later. */
const LATE_MAX_MS = 120_000;

/** A 596 whose effect came later than its answer could: who then starts anew cannot know of it. */
interface LateEffect {
  readonly effectAtMs: number;
  readonly life: number;
}

export class Witness {
  readonly #world: SimWorld;
  /** By guest and kind, the newest durable record of an attempt. */
  readonly #newest = new Map<string, SealedOp>();
  readonly #firsts = new Map<string, SealedOp>();
  /** By op, its newest `started`. */
  readonly #started = new Map<string, { readonly record: SealedOp; readonly atMs: number }>();
  /** By op, when its first `started` was given to the journal: a crash may make it durable later. */
  readonly #begunMs = new Map<string, number>();
  readonly #used = new Set<string>();
  /** By op, what its latest attempt sent: its record masks what is secret. */
  readonly #sent = new Map<string, SentRequest>();
  /** By guest, the power action that was sent last. */
  readonly #lastPower = new Map<number, 'start' | 'stop'>();
  readonly #tasks = new Map<string, ModelTask>();
  readonly #late: LateEffect[] = [];

  constructor(world: SimWorld) {
    this.#world = world;
    const { archive, api, node } = world;
    archive.onOp = (record) => this.#noteDurable(record);
    api.onSent = (request) => this.#judgeRequest(request);
    const { tasks } = node;
    const spawn = tasks.spawn.bind(tasks);
    tasks.spawn = (type, vmid, user, work) => {
      const running = tasks.all.filter(({ end }) => end === null);
      const task = spawn(type, vmid, user, work);
      this.#tasks.set(task.upid, task);
      this.#judgeTask(task, running);
      return task;
    };
    const take = api.faults.take.bind(api.faults);
    api.faults.take = (on) => {
      const fault = take(on);
      if (fault?.kind === 'answer_596' && fault.effectAfterMs !== null) {
        const effectAtMs = world.clock.elapsedMs + fault.effectAfterMs;
        this.#late.push({ effectAtMs, life: world.agent.lives });
      }
      return fault;
    };
  }

  /** How old what the agent acts on may be. */
  get slackMs(): number {
    return SLACK_MS + this.#world.slowestMs;
  }

  #sinceMs(): number {
    return this.#world.clock.elapsedMs - this.slackMs;
  }

  #noteDurable(record: SealedOp): void {
    if (!this.#firsts.has(record.op_id)) this.#firsts.set(record.op_id, record);
    if (record.state === 'received' || record.attempt === 0) return;
    if (record.state === 'started') {
      const atMs = this.#begunMs.get(record.op_id) ?? this.#world.clock.elapsedMs;
      this.#started.set(record.op_id, { record, atMs });
    }
    const key = `${record.vmid} ${record.kind}`;
    const known = this.#newest.get(key);
    if (known === undefined || known.seq < record.seq) this.#newest.set(key, record);
  }

  #judgeRequest(request: SentRequest): void {
    const { verdicts } = this.#world;
    const { kind, vmid } = request;
    const record = this.#newest.get(`${vmid} ${kind}`);
    if (record?.state !== 'started') {
      const last = record === undefined ? 'no record' : `${record.op_id} ${record.state}`;
      verdicts.fail('one_request_per_attempt', `${kind} ${vmid} was sent after ${last}`);
      return;
    }
    const attempt = `${record.op_id} attempt ${record.attempt}`;
    if (this.#used.has(attempt)) {
      verdicts.fail('one_request_per_attempt', `${kind} ${vmid} was sent again for ${attempt}`);
    }
    this.#used.add(attempt);
    this.#sent.set(record.op_id, request);
    if (kind !== 'set_config') this.#lastPower.set(vmid, kind);
    if (record.origin === 'reconcile') this.#judgeReconciling(request);
    if (kind === 'stop') this.#judgeStop(request, record);
  }

  #judgeReconciling(request: SentRequest): void {
    const { verdicts, watched, truth, clock } = this.#world;
    const { kind, vmid } = request;
    const sinceMs = this.#sinceMs();
    const wishes = watched.inForce(vmid, sinceMs);
    if (!wishes.some((wanted) => isWanted(request, wanted))) {
      const message = `reconciling sent ${kind} ${vmid}, which nobody wants`;
      verdicts.fail('reconciling_does_only_what_is_desired', message);
    }
    const isFree = truth.wasEver(vmid, sinceMs, (guest) => guest !== null && !isTagged(guest));
    const wasHeld = this.#world.holds.isHeldThroughout(vmid, sinceMs, clock.now());
    if (isFree && !wasHeld) return;
    const message = `reconciling sent ${kind} ${vmid}, which is on hold`;
    verdicts.fail('reconciling_does_only_what_is_desired', message);
  }

  #judgeStop({ vmid, params }: SentRequest, record: SealedOp): void {
    const { verdicts, asked, watched } = this.#world;
    const fail = (why: string): void =>
      verdicts.fail('no_guest_is_stopped_unasked', `stop ${vmid} (${record.op_id}): ${why}`);
    if (record.origin === 'reconcile') {
      const wishes = watched.inForce(vmid, this.#sinceMs());
      if (!wishes.some((wanted) => wanted?.power === 'stopped')) fail('nobody wants it stopped');
      return;
    }
    const { parent_op_id: parent } = record;
    const asking = this.#firsts.get(parent ?? record.op_id);
    if (asking === undefined || !asked.has(asking)) return fail('nobody has asked for it');
    if (asking.kind !== 'stop' && asking.kind !== 'restart') fail(`it is of a ${asking.kind}`);
    if (JSON.stringify(asking.params) !== JSON.stringify(params)) fail('it was asked otherwise');
    return undefined;
  }

  #judgeTask(task: ModelTask, running: readonly ModelTask[]): void {
    if (task.user !== AGENT_TOKEN || task.vmid === null) return;
    const other = running.find(({ vmid, user }) => vmid === task.vmid && user === AGENT_TOKEN);
    this.#judgeOrder(task, task.vmid);
    if (other === undefined) return;
    // The same once more, or a write, meets PVE's lock; what is the opposite has to wait for it.
    const [kind, otherKind] = [powerKind(task), powerKind(other)];
    const isStepped = this.#world.clock.elapsedMs - this.#world.steppedAtMs < LATE_MAX_MS;
    const isOpposite = !isStepped && kind !== null && otherKind !== null && kind !== otherKind;
    if (!isOpposite && (this.#isLate(other) || this.#isLate(task))) return;
    const message = `${task.type} ${task.vmid} began while ${other.upid} was running`;
    this.#world.verdicts.fail('one_task_of_ours_per_guest', message);
  }

  /** What was asked for last comes last, however late what was asked before it. */
  #judgeOrder(task: ModelTask, vmid: number): void {
    const { clock, steppedAtMs } = this.#world;
    // How long ago its last life began something, an agent can tell by the wall clock alone.
    if (clock.elapsedMs - steppedAtMs < LATE_MAX_MS) return;
    const last = this.#lastPower.get(vmid);
    const kind = powerKind(task);
    if (kind === null || last === undefined || last === kind) return;
    const message = `${task.type} ${vmid} began after a ${last} had been sent`;
    this.#world.verdicts.fail('order_within_a_lane', message);
  }

  /** Its request was sent in an earlier life, and took effect after that had ended. */
  #isLate({ upid }: ModelTask): boolean {
    const { agent, clock } = this.#world;
    const task = this.#tasks.get(upid);
    const atMs = task === undefined ? 0 : task.startedAtMs - clock.now() + clock.elapsedMs;
    return this.#late.some(
      ({ effectAtMs, life }) => life < agent.lives && Math.abs(effectAtMs - atMs) < 100,
    );
  }

  /** A record, as it is given to the journal. */
  judgeAppend(draft: OpRecordDraft): void {
    const { op_id: opId } = draft;
    if (draft.state === 'started' && !this.#begunMs.has(opId)) {
      this.#begunMs.set(opId, this.#world.clock.elapsedMs);
    }
    this.#judgeEnd(draft);
  }

  #judgeEnd(draft: OpRecordDraft): void {
    if (!isTerminal(draft.state) || draft.attempt === 0) return;
    this.#judgeExit(draft);
    if (draft.state === 'succeeded') this.#judgeSuccess(draft);
    else this.#judgeFailure(draft);
  }

  #fail(draft: OpRecordDraft, why: string): void {
    const { op_id: opId, kind, vmid, state, error, observed } = draft;
    const said = `${opId} ${kind} ${vmid} ${state} ${error?.code ?? ''} ${JSON.stringify(observed)}`;
    this.#world.verdicts.fail('terminal_state_is_true', `${said}: ${why}`);
  }

  #judgeExit(draft: OpRecordDraft): void {
    if (draft.upid === undefined) return;
    const task = this.#tasks.get(draft.upid);
    if (task?.vmid !== draft.vmid || task.user !== AGENT_TOKEN) {
      this.#fail(draft, 'its task is not ours, or not of that guest');
    } else if (task.end === null) {
      this.#fail(draft, 'its task is running');
    } else if (draft.exit_status !== undefined && draft.exit_status !== task.end.exitStatus) {
      this.#fail(draft, `its task ended ${task.end.exitStatus}`);
    }
  }

  #judgeSuccess(draft: OpRecordDraft): void {
    const { truth } = this.#world;
    const started = this.#started.get(draft.op_id);
    const { before } = started?.record ?? {};
    const params = this.#sent.get(draft.op_id)?.params ?? started?.record.params;
    const beganMs = (started?.atMs ?? 0) - this.slackMs;
    if (draft.observed?.note?.includes('it was stopped, and has been started') === true) {
      const wasOff = truth.wasEver(draft.vmid, beganMs, (guest) => guest?.power === 'stopped');
      if (!wasOff) this.#fail(draft, 'it was never stopped');
      return;
    }
    const isSo = (guest: GuestTruth | null): boolean =>
      guest !== null &&
      isAsAsked({ kind: draft.kind, params }, guest, guest.pid === (before?.pid ?? null));
    // A restart cut off after its parts had ended says what they did.
    const sinceMs = draft.kind === 'restart' ? beganMs : this.#sinceMs();
    if (!truth.wasEver(draft.vmid, sinceMs, isSo)) this.#fail(draft, 'it is not so');
  }

  /** What was seen was so at some time since the attempt began: it may be recorded later. */
  #judgeFailure(draft: OpRecordDraft): void {
    const { truth } = this.#world;
    const started = this.#started.get(draft.op_id);
    if (started === undefined) return;
    const sinceMs = started.atMs - this.slackMs;
    const seen = draft.observed?.power;
    if (seen === undefined) return;
    if (!truth.wasEver(draft.vmid, sinceMs, (guest) => guest?.power === seen)) {
      this.#fail(draft, `it was never ${seen}`);
    }
    const { kind } = draft;
    const { params } = started.record;
    // What nobody can see may have been so.
    if (params !== undefined && 'set' in params && SECRET_KEY in params.set) return;
    const isSo = (guest: GuestTruth | null): boolean =>
      guest === null || !isAsAsked({ kind, params }, guest, true);
    if (kind !== 'restart' && !truth.wasEver(draft.vmid, sinceMs, isSo)) {
      this.#fail(draft, 'all the time it was as asked');
    }
  }
}

function powerKind({ type }: ModelTask): 'start' | 'stop' | null {
  if (type.endsWith('start')) return 'start';
  return /stop$|shutdown$/.test(type) ? 'stop' : null;
}

function isTagged({ config }: GuestTruth): boolean {
  return (config.get('tags') ?? '').split(';').includes(HOLD_TAG);
}

function isWanted({ kind, params }: SentRequest, wanted: DesiredGuest | null): boolean {
  if (wanted === null || (wanted.mode ?? 'enforce') !== 'enforce') return false;
  switch (kind) {
    case 'start':
      return wanted.power === 'running' || wanted.power === 'initial';
    case 'stop':
      return wanted.power === 'stopped' && JSON.stringify(params) === JSON.stringify(wanted.stop);
    case 'set_config': {
      const change = { set: {}, delete: [], ...params };
      const isSetWanted = Object.entries(change.set).every(
        ([key, value]) => wanted.config.get(key) === value,
      );
      return isSetWanted && change.delete.every((key) => wanted.config.get(key) === null);
    }
    default:
      return assertNever(kind);
  }
}
