/**
 * What looks at the node make the agent remember, beyond any op: guests whose one start has
 * happened, guests that a bulk stop took down, tasks of ours that no op claims. And forget: what a
 * guest was that is another one now.
 */
import type { DesiredState } from './desired.ts';
import type { ActualState, BulkTask, Power, Replacement, RunningTask } from './guest.ts';
import { BULK_STOP_REASON, isBulkHold } from './hold.ts';
import type { Upid, Vmid } from './ids.ts';
import type { Hold, Note, OpLedger } from './ports.ts';
import { isFlappingHold } from './retry.ts';

/** So long, in looks, an ended bulk task explains what a list that does not come may still show. */
const ENDED_LOOKS_MAX = 3;

/**
 * A guest that is on no node for so long is gone for good. Two looks at least: lists may be empty for
 * the moment in which the cluster's file system comes up again.
 */
const GONE_AFTER_MS = 20_000;
/** The node's clock and ours, and a look is dated as it begins: by no more than that. */
const CLOCKS_APART_MS = 5_000;
/** No time is so long after that. */
const NOTED_ALREADY = Number.POSITIVE_INFINITY;

type UpkeepLedger = Pick<
  OpLedger,
  | 'holds'
  | 'isInitialDone'
  | 'lastLifeAtMs'
  | 'lastUpid'
  | 'opsInFlight'
  | 'rememberedSince'
  | 'wasStartedLately'
>;

interface BulkLook {
  readonly desired: DesiredState;
  readonly actual: ActualState;
  readonly ledger: UpkeepLedger;
  readonly isIgnored: boolean;
}

/** Watches looks go by. Notes are made at passes; what other looks saw meanwhile is not lost. */
export class Upkeep {
  /** As the last look that showed the guest said, or an op of ours left it. */
  readonly #power = new Map<Vmid, Power>();
  readonly #bulk = new Map<Upid, BulkTask>();
  /** Looks that have shown it ended. */
  readonly #endedLooks = new Map<Upid, number>();
  /** Since when looks have shown that no node has it; wall clock ms. */
  readonly #nowhereSince = new Map<Vmid, number>();
  /** Each guest's last replacement that was heeded: what is noted later is the next guest's. */
  readonly #replaced = new Map<Vmid, Upid>();
  #lateTasks = new Set<Upid>();
  #isFirst = true;

  /** An op of ours on its power has made it so: no bulk task did. */
  noteOwnChange(vmid: Vmid, power: Power): void {
    this.#power.set(vmid, power);
  }

  /**
   * Stopped at the last pass, or by an op of ours since. Of a guest that has gone down by itself
   * only a pass can tell whether a bulk task took it down.
   */
  isKnownStopped(vmid: Vmid): boolean {
    return this.#power.get(vmid) === 'stopped';
  }

  /** A look that is no pass: only what it would otherwise take from the next is kept. */
  noteBulkTasks(tasks: readonly BulkTask[]): void {
    for (const task of tasks) this.#bulk.set(task.upid, task);
  }

  /**
   * The notes to be made of guests that were replaced, before `heed`: a task tells, or that complete
   * looks find it on no node. A guest that has moved, or cannot be seen, is the same when it is back.
   */
  findReplaced(actual: ActualState, ledger: UpkeepLedger): Note[] {
    const { lookedAtMs, nowhere, replaced } = actual;
    for (const vmid of this.#nowhereSince.keys()) {
      if (!nowhere.has(vmid)) this.#nowhereSince.delete(vmid);
    }
    const gone = [...nowhere].filter((vmid) => {
      const sinceMs = this.#nowhereSince.get(vmid) ?? lookedAtMs;
      const isGone = lookedAtMs - sinceMs >= GONE_AFTER_MS;
      this.#nowhereSince.set(vmid, isGone ? NOTED_ALREADY : sinceMs);
      return isGone && ledger.rememberedSince(vmid) !== null;
    });
    const others = [...replaced].filter(([vmid, replacement]) => {
      const isNews = this.#replaced.get(vmid) !== replacement.upid;
      this.#replaced.set(vmid, replacement.upid);
      const sinceMs = ledger.rememberedSince(vmid);
      return isNews && sinceMs !== null && this.#isBefore(sinceMs, replacement, lookedAtMs);
    });
    const vmids = new Set([...gone, ...others.map(([vmid]) => vmid)]);
    return [...vmids].flatMap((vmid) => forget(vmid, ledger));
  }

  /**
   * Whether what is remembered was noted before the replacement. Where either is dated ahead, the clock
   * was set back since. What an earlier life has noted stays then: nothing is sent on a guess.
   */
  #isBefore(sinceMs: number, { endedAtMs }: Replacement, lookedAtMs: number): boolean {
    const aheadMs = lookedAtMs + CLOCKS_APART_MS;
    return this.#isFirst
      ? sinceMs < endedAtMs && endedAtMs <= aheadMs
      : sinceMs < endedAtMs || sinceMs > aheadMs;
  }

  /** The notes to be made after a pass's look, in order. */
  heed(desired: DesiredState, actual: ActualState, ledger: UpkeepLedger): Note[] {
    this.noteBulkTasks(actual.bulkTasks);
    const areTasksKnown = actual.tasksKnown.kind === 'complete';
    const isIgnored = this.#isFirst && !(areTasksKnown && this.#isGoingOn(ledger));
    const notes = [
      ...this.#findInitialDone(desired, actual, ledger),
      ...this.#findBulkHolds({ desired, actual, ledger, isIgnored }),
      ...this.#findLateEffects(actual, ledger),
    ];
    for (const { vmid, power } of actual.guests.values()) this.#power.set(vmid, power);
    if (areTasksKnown) {
      const isWhole = actual.qemu.kind === 'complete' && actual.lxc.kind === 'complete';
      this.#forgetEnded(actual.bulkTasks, isIgnored || isWhole);
      this.#isFirst = false;
    }
    return notes;
  }

  /**
   * What was taken down before this agent's first look is none of its business, unless its last life
   * was in the middle of that: it has left holds, and noted nothing since the task has ended.
   */
  #isGoingOn(ledger: UpkeepLedger): boolean {
    const endedAtMs = this.#newestBulk()?.endedAtMs ?? Number.POSITIVE_INFINITY;
    const wasUnfinished = endedAtMs >= ledger.lastLifeAtMs - CLOCKS_APART_MS;
    return wasUnfinished && [...ledger.holds().values()].some(isBulkHold);
  }

  #newestBulk(): BulkTask | undefined {
    return [...this.#bulk.values()].toSorted((a, b) => a.startedAtMs - b.startedAtMs).at(-1);
  }

  /**
   * A bulk task that has ended explains what is first seen stopped now, and nothing after; `isOver`
   * false: a list is missing, and what it does not show is waited for, though not for ever.
   */
  #forgetEnded(bulkTasks: readonly BulkTask[], isOver: boolean): void {
    const running = new Set(
      bulkTasks.filter(({ endedAtMs }) => endedAtMs === null).map(({ upid }) => upid),
    );
    for (const upid of this.#bulk.keys()) {
      if (running.has(upid)) continue;
      const looks = (this.#endedLooks.get(upid) ?? 0) + 1;
      this.#endedLooks.set(upid, looks);
      if (!isOver && looks < ENDED_LOOKS_MAX) continue;
      this.#bulk.delete(upid);
      this.#endedLooks.delete(upid);
    }
  }

  /** The agent never fights an administrator's "shut all down"; `isIgnored`: one that has ended. */
  #findBulkHolds({ desired, actual, ledger, isIgnored }: BulkLook): Note[] {
    const newest = this.#newestBulk();
    if (newest === undefined) return [];
    if (newest.type === 'startall') return releaseBulkHolds(ledger);
    if (isIgnored && newest.endedAtMs !== null) return [];
    const notes: Note[] = [];
    for (const vmid of mayBeStarted(desired)) {
      const wasRunning = (this.#power.get(vmid) ?? 'running') === 'running';
      const isStopped = actual.guests.get(vmid)?.power === 'stopped';
      const held = ledger.holds().get(vmid);
      if (!wasRunning || !isStopped || held?.untilMs === null) continue;
      // A hold that ends may end while the node's guests are still to be down.
      const under = held && { untilMs: held.untilMs, reason: held.reason };
      const reason = `${BULK_STOP_REASON}: the node's guests were taken down (${newest.type})`;
      const hold = { vmid, untilMs: null, reason, ...(under === undefined ? {} : { under }) };
      notes.push({ kind: 'hold', hold });
    }
    return notes;
  }

  /**
   * `power: initial`: a guest that is seen running has had its start. So has one that was started
   * right before this life began, or by an op it took up before it knew what is desired.
   */
  #findInitialDone(desired: DesiredState, actual: ActualState, ledger: UpkeepLedger): Note[] {
    const notes: Note[] = [];
    for (const { vmid, power } of desired.guests.values()) {
      if (power !== 'initial' || ledger.isInitialDone(vmid)) continue;
      const isUp = actual.guests.get(vmid)?.power === 'running';
      const wasUp = this.#isFirst && ledger.wasStartedLately(vmid);
      if (isUp || wasUp) notes.push({ kind: 'initial_done', vmid });
    }
    return notes;
  }

  /** PVE puts no bound on when a request takes effect (PVE-FACTS 5): what comes late is noted. */
  #findLateEffects(actual: ActualState, ledger: UpkeepLedger): Note[] {
    const atWork = new Set<Vmid>(ledger.opsInFlight().map(({ latest }) => latest.vmid));
    const notes: Note[] = [];
    const late = new Set<Upid>();
    for (const { isOurs, vmid, upid } of actual.tasks) {
      if (!isOurs || vmid === null || atWork.has(vmid) || ledger.lastUpid(vmid) === upid) continue;
      late.add(upid);
      if (!this.#lateTasks.has(upid)) notes.push({ kind: 'late_effect', vmid, upid });
    }
    this.#lateTasks = late;
    return notes;
  }
}

/** Of a guest that is claimed twice nobody knows yet whether it is to run. */
function mayBeStarted({ guests, claimedTwice }: DesiredState): readonly Vmid[] {
  const toRun = [...guests.values()].filter(
    ({ power }) => power === 'running' || power === 'initial',
  );
  return [...toRun.map(({ vmid }) => vmid), ...claimedTwice.keys()];
}

/** A hold that somebody has asked for is theirs to end: it was put on whatever bears that vmid. */
function forget(vmid: Vmid, ledger: UpkeepLedger): Note[] {
  const hold = ledger.holds().get(vmid);
  const kept = hold === undefined || isFlappingHold(hold) ? null : withoutBulk(hold);
  const forgotten = { kind: 'forget_guest', vmid } as const;
  return kept === null ? [forgotten] : [forgotten, { kind: 'hold', hold: kept }];
}

/**
 * What is left of a hold when the node's own is over. One whose time is over, too, stays as it would
 * have without the node's: to an op in flight none at all means that somebody has resumed the guest.
 */
function withoutBulk(hold: Hold): Hold | null {
  if (!isBulkHold(hold)) return hold;
  const { vmid, under } = hold;
  return under === undefined ? null : { vmid, ...under };
}

function releaseBulkHolds(ledger: UpkeepLedger): Note[] {
  const notes: Note[] = [];
  for (const hold of ledger.holds().values()) {
    if (!isBulkHold(hold)) continue;
    const left = withoutBulk(hold);
    notes.push(
      left === null ? { kind: 'resume_guest', vmid: hold.vmid } : { kind: 'hold', hold: left },
    );
  }
  return notes;
}

/**
 * The running tasks that are no op's own: of none in flight, and not the last one that an op of
 * the guest ended with, which a list a few seconds old may still show.
 */
export function strangers(
  tasks: readonly RunningTask[],
  ledger: Pick<OpLedger, 'opsInFlight'>,
  endedTasks: ReadonlyMap<Vmid, Upid>,
): readonly RunningTask[] {
  if (tasks.length === 0) return tasks;
  const own = new Set(ledger.opsInFlight().map(({ latest }) => latest.upid));
  return tasks.filter(({ upid, vmid }) => {
    return !own.has(upid) && (vmid === null || endedTasks.get(vmid) !== upid);
  });
}
