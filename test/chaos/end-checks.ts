/** Is what the agent wrote of an op's end true? */
import { attemptOf, isEnd, isGuestAsAsked, type OpRecord, type Timeline } from './timeline.ts';

export function findFalseEnds(timeline: Timeline): string[] {
  return timeline.records
    .filter((record) => isEnd(record) && record.attempt > 0)
    .flatMap((record) => {
      const why =
        falseTask(record, timeline) ??
        (record.state === 'succeeded'
          ? falseSuccess(record, timeline)
          : falseFailure(record, timeline));
      if (why === null) return [];
      const { kind, vmid, state, error, observed, seq } = record;
      const said = `${state} ${error?.code ?? ''} ${JSON.stringify(observed)}`;
      return [`seq ${seq}, ${attemptOf(record)}, ${kind} ${vmid} ${said}: ${why}`];
    });
}

function falseTask(record: OpRecord, timeline: Timeline): string | null {
  const { upid, vmid, exit_status: exitStatus } = record;
  if (upid === undefined) return null;
  const task = timeline.evidence.tasks.find((each) => each.upid === upid);
  if (task === undefined || task.id !== String(vmid)) return 'its task is not of that guest';
  if (!isOurs(task.user)) return 'its task is somebody else’s';
  if (task.ended_at === null || Date.parse(task.ended_at) > timeline.seenMs(record)) {
    return 'its task was running';
  }
  const isAsSaid = exitStatus === undefined || exitStatus === task.exit_status;
  return isAsSaid ? null : `its task ended ${task.exit_status}`;
}

/** The one token that the agent has. */
export function isOurs(user: string): boolean {
  return user === 'agent@pve!agent';
}

/** When the attempt began, or what it goes by, and when its end was on disk. */
function spanOf(record: OpRecord, timeline: Timeline): { beganMs: number; toMs: number } {
  const started = timeline.startOf(record) ?? record;
  const beganMs = timeline.seenMs(started);
  return { beganMs: timeline.decidedSinceMs(beganMs), toMs: timeline.seenMs(record) };
}

function falseSuccess(record: OpRecord, timeline: Timeline): string | null {
  const { vmid, kind, observed } = record;
  const { beganMs, toMs } = spanOf(record, timeline);
  const params = timeline.startOf(record)?.params;
  if (observed?.note?.includes('it was stopped, and has been started') === true) {
    const isStopped = timeline.wasEver(
      vmid,
      { fromMs: beganMs, toMs },
      (guest) => guest?.status === 'stopped',
    );
    return isStopped ? null : 'it was never stopped';
  }
  const op = { kind, ...(params === undefined ? {} : { params }) };
  // A restart cut off after its parts had ended says what they did.
  const fromMs = kind === 'restart' ? beganMs : timeline.decidedSinceMs(toMs);
  const isSo = timeline.wasEver(vmid, { fromMs, toMs }, (guest) =>
    isGuestAsAsked(op, guest, beganMs),
  );
  return isSo ? null : 'it is not so';
}

/** What was seen was so at some time since the attempt began: it may be recorded later. */
function falseFailure(record: OpRecord, timeline: Timeline): string | null {
  const { vmid, kind, observed } = record;
  const seen = observed?.power;
  if (seen === undefined) return null;
  const { beganMs, toMs } = spanOf(record, timeline);
  const span = { fromMs: beganMs, toMs };
  if (!timeline.wasEver(vmid, span, (guest) => guest?.status === seen)) {
    return `it was never ${seen}`;
  }
  const params = timeline.startOf(record)?.params;
  const op = { kind, ...(params === undefined ? {} : { params }) };
  const wasOtherwise = timeline.wasEver(
    vmid,
    span,
    (guest) => guest === null || !isGuestAsAsked(op, guest, Number.NEGATIVE_INFINITY),
  );
  return kind === 'restart' || wasOtherwise ? null : 'all the time it was as asked';
}
