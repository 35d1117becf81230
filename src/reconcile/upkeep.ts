/**
 * What a look at the node makes the agent remember, beyond any op: guests whose one start has
 * happened, guests that a bulk stop took down, tasks of ours that no op claims.
 */
import type { DesiredState } from './desired.ts';
import type { ActualState, BulkTask, RunningTask } from './guest.ts';
import type { Vmid } from './ids.ts';
import type { Note, OpLedger } from './ports.ts';

/** The reason of a hold that ends when the node starts its guests again. */
const BULK_STOP_REASON = 'stopall';

export interface UpkeepInput {
  readonly desired: DesiredState;
  readonly before: ActualState | null;
  readonly actual: ActualState;
  readonly ledger: Pick<OpLedger, 'holds' | 'isInitialDone' | 'lastUpid' | 'opsInFlight'>;
}

/** The notes to be made after a look, in order. Pure. */
export function findUpkeep(input: UpkeepInput): Note[] {
  return [...findInitialDone(input), ...findBulkHolds(input), ...findLateEffects(input)];
}

/** `power: initial`: a guest that is seen running has had its start. */
function findInitialDone({ desired, actual, ledger }: UpkeepInput): Note[] {
  const notes: Note[] = [];
  for (const { vmid, power } of desired.guests.values()) {
    if (power !== 'initial' || ledger.isInitialDone(vmid)) continue;
    if (actual.guests.get(vmid)?.power === 'running') notes.push({ kind: 'initial_done', vmid });
  }
  return notes;
}

/** The agent never fights an administrator's "shut all down". */
function findBulkHolds({ desired, before, actual, ledger }: UpkeepInput): Note[] {
  const tasks = [...(before?.bulkTasks ?? []), ...actual.bulkTasks];
  const isStopping = tasks.some(({ type }) => type !== 'startall');
  const isStarting = actual.bulkTasks.some(({ type }) => type === 'startall');
  if (isStarting && !isNewerStop(actual.bulkTasks)) return releaseBulkHolds(ledger);
  if (!isStopping || before === null) return [];
  const notes: Note[] = [];
  for (const { vmid } of desired.guests.values()) {
    const wasRunning = before.guests.get(vmid)?.power === 'running';
    const isStopped = actual.guests.get(vmid)?.power === 'stopped';
    if (!wasRunning || !isStopped || ledger.holds().has(vmid)) continue;
    const reason = `${BULK_STOP_REASON}: all guests of the node were stopped`;
    notes.push({ kind: 'hold', hold: { vmid, untilMs: null, reason } });
  }
  return notes;
}

/** After a `startall`, was there a bulk stop again? */
function isNewerStop(tasks: readonly BulkTask[]): boolean {
  const newest = (isStart: boolean): number =>
    Math.max(
      ...tasks
        .filter(({ type }) => (type === 'startall') === isStart)
        .map(({ startedAtMs }) => startedAtMs),
    );
  return newest(false) > newest(true);
}

function releaseBulkHolds(ledger: UpkeepInput['ledger']): Note[] {
  const notes: Note[] = [];
  for (const { vmid, reason } of ledger.holds().values()) {
    if (reason.startsWith(BULK_STOP_REASON)) notes.push({ kind: 'resume_guest', vmid });
  }
  return notes;
}

/** PVE puts no bound on when a request takes effect (PVE-FACTS 5): what comes late is noted. */
function findLateEffects({ before, actual, ledger }: UpkeepInput): Note[] {
  const atWork = new Set<Vmid>(ledger.opsInFlight().map(({ latest }) => latest.vmid));
  const known = new Set(before?.tasks.map(({ upid }) => upid));
  const notes: Note[] = [];
  for (const { isOurs, vmid, upid } of actual.tasks) {
    const isUnclaimed = isOurs && vmid !== null && !atWork.has(vmid) && !known.has(upid);
    if (isUnclaimed && ledger.lastUpid(vmid) !== upid) {
      notes.push({ kind: 'late_effect', vmid, upid });
    }
  }
  return notes;
}

/** The running tasks that are not an op's own. */
export function strangers(
  tasks: readonly RunningTask[],
  ledger: Pick<OpLedger, 'opsInFlight'>,
): readonly RunningTask[] {
  const own = new Set(ledger.opsInFlight().map(({ latest }) => latest.upid));
  return tasks.filter(({ upid }) => !own.has(upid));
}
