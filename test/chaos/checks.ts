/**
 * What must hold in every chaos run, by name. Each check reads the evidence alone and says what
 * breaks it; checks.test.ts plants what each of them is there to find.
 */
import { findKeyFaults, findLaneFaults } from '../support/record-checks.ts';
import { findFalseEnds } from './end-checks.ts';
import type { Evidence, Life } from './evidence.ts';
import {
  findOverlappingTasks,
  findUnaskedStops,
  findUnbackedRequests,
  findUnwantedWork,
} from './request-checks.ts';
import { isEnd, Timeline } from './timeline.ts';

type Check = (timeline: Timeline) => string[];

export const CHECKS = {
  /** Its `received` record outlives every crash, and it comes to an end. */
  acknowledged_op_is_never_lost: findLostOps,
  key_succeeds_at_most_once: findRepeatedKeys,
  /** PVE sees at most one request an attempt, and its `started` is written before. */
  one_request_per_attempt: findUnbackedRequests,
  order_within_a_lane: ({ records }) => findLaneFaults(records),
  one_task_of_ours_per_guest: findOverlappingTasks,
  terminal_state_is_true: findFalseEnds,
  reconciling_does_only_what_is_desired: findUnwantedWork,
  no_guest_is_stopped_unasked: findUnaskedStops,
  converges_when_faults_end: ({ evidence }) => [...evidence.leftOver],
  journal_verifies: findJournalFaults,
  ends_only_as_it_was_made_to: ({ evidence }) => evidence.lives.flatMap(findOddEnd),
  no_internal_error: findInternalErrors,
} as const satisfies Record<string, Check>;
export type CheckName = keyof typeof CHECKS;

export interface Violation {
  readonly check: CheckName;
  readonly message: string;
}

export function findViolations(evidence: Evidence): Violation[] {
  const timeline = new Timeline(evidence);
  const checks = Object.entries(CHECKS) as [CheckName, Check][];
  return checks.flatMap(([check, find]) => find(timeline).map((message) => ({ check, message })));
}

function findLostOps({ evidence, records }: Timeline): string[] {
  const lasts = new Map(records.map((record) => [record.op_id, record]));
  const taken = new Set(evidence.asks.flatMap(({ answer }) => takenId(answer) ?? []));
  return [...taken].flatMap((opId) => {
    const last = lasts.get(opId);
    if (last === undefined) return [`${opId} was taken and is not in the journal`];
    return isEnd(last) ? [] : [`${opId} has not ended: ${last.state}`];
  });
}

function takenId(answer: Evidence['asks'][number]['answer']): string | null {
  return answer.kind === 'taken' ? answer.opId : null;
}

function findRepeatedKeys({ evidence, records }: Timeline): string[] {
  const faults = findKeyFaults(records);
  const keyed = evidence.asks.filter(({ key }) => key !== null);
  for (const [key, asks] of Map.groupBy(keyed, (ask) => ask.key)) {
    const ids = new Set(asks.flatMap(({ answer }) => takenId(answer) ?? []));
    if (ids.size > 1) faults.push(`${key} was answered with ${[...ids].join(' and ')}`);
  }
  return faults;
}

function findJournalFaults({ evidence: { journal, verify } }: Timeline): string[] {
  if (verify === null || verify.exit === 0) return [...journal.problems];
  return [...journal.problems, `journal verify ended with ${verify.exit}: ${verify.out}`];
}

function findOddEnd({ pid, exit, signal, endedMs, suffered }: Life): string[] {
  if (endedMs === null) return [];
  const isKilled = signal === 'SIGKILL' && suffered.has('kill');
  const isDone = exit === 0 && suffered.has('terminate');
  const isHalted = exit === 70 && suffered.has('full_disk');
  const isRefused = exit === 75 && (suffered.has('held_lock') || suffered.has('lost_lock'));
  if (isKilled || isDone || isHalted || isRefused) return [];
  const had = suffered.size === 0 ? 'nothing' : [...suffered].join(', ');
  return [`agent ${pid} ended with ${exit ?? signal} after ${had} was done to it`];
}

function findInternalErrors({ evidence, records }: Timeline): string[] {
  const said = evidence.asks.flatMap(({ answer, kind, vmid }) =>
    answer.kind === 'refused' && answer.code === 'internal_error'
      ? [`${kind} ${vmid} was refused with internal_error`]
      : [],
  );
  const written = records.flatMap(({ op_id: opId, error }) =>
    error?.code === 'internal_error' ? [`${opId}: ${error.message}`] : [],
  );
  return [...said, ...written];
}
