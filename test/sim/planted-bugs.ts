/**
 * Bugs put into the code on purpose, as replacements of its text: each must make its check fail, or
 * the check proves nothing. A replacement whose text is no longer there fails, too.
 */
import type { CheckName } from './verdicts.ts';

export interface PlantedBug {
  readonly name: string;
  readonly check: CheckName;
  /** Under src. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Shows it; said where it is none of the first ten. Where it does not any more, another is sought. */
  readonly seed?: number;
}

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: 'a line is called durable before its sync',
    check: 'acknowledged_op_is_never_lost',
    file: 'journal/writer.ts',
    find: 'const syncing = this.#file.sync();',
    replace: 'const syncing = Promise.resolve();',
  },
  {
    name: 'an op that only waited is forgotten by a restart',
    check: 'acknowledged_op_is_never_lost',
    file: 'reconcile/op-queue.ts',
    find: 'of [...begun, ...waiting])',
    replace: 'of begun)',
  },
  {
    name: 'a key is not remembered',
    check: 'key_succeeds_at_most_once',
    file: 'journal/op-book.ts',
    find: 'return isKept ? kept : null;',
    replace: 'return null;',
  },
  {
    name: 'a request without an answer is sent again',
    check: 'one_request_per_attempt',
    file: 'reconcile/attempt.ts',
    find: 'const submission = await submit(op, guest, room);',
    replace: `let submission = await submit(op, guest, room);
      if (submission.kind === 'unsure') submission = await submit(op, guest, room);`,
  },
  {
    name: 'the request goes out beside its record',
    check: 'one_request_per_attempt',
    file: 'reconcile/attempt.ts',
    find: 'await room.record({',
    replace: 'void room.record({',
  },
  {
    name: 'what waited is taken up newest first',
    check: 'order_within_a_lane',
    file: 'reconcile/op-queue.ts',
    find: '[...begun, ...waiting]',
    replace: '[...begun, ...waiting.toReversed()]',
    seed: 16,
  },
  {
    name: 'a lane has room for two at a time',
    check: 'one_task_of_ours_per_guest',
    file: 'reconcile/lanes.ts',
    find: 'new PQueue({ concurrency: 1 })',
    replace: 'new PQueue({ concurrency: 2 })',
  },
  {
    name: 'a task that ended counts as done',
    check: 'terminal_state_is_true',
    file: 'reconcile/completion.ts',
    find: '  const { fulfilment } = seen;',
    replace: `if (evidence.kind === 'task') return { ...base, state: 'succeeded', observed };
      const { fulfilment } = seen;`,
  },
  {
    name: 'a password that PVE refused counts as set',
    check: 'terminal_state_is_true',
    file: 'reconcile/completion.ts',
    find: 'return isVouchedFor(evidence) ? null : fulfilment.saw;',
    replace: 'return null;',
    seed: 106,
  },
  {
    name: 'a person holds a guest, and nobody heeds it',
    check: 'reconciling_does_only_what_is_desired',
    file: 'reconcile/guards.ts',
    find: '  holdByPerson,\n  holdByBackoff,',
    replace: '  holdByBackoff,',
  },
  {
    name: 'a guest nobody manages is started',
    check: 'reconciling_does_only_what_is_desired',
    file: 'reconcile/planner.ts',
    find: "case 'unmanaged':\n      return null;",
    replace: "case 'unmanaged':\n      return guest.power === 'stopped' ? 'running' : null;",
  },
  {
    name: 'a guest nobody manages is stopped',
    check: 'no_guest_is_stopped_unasked',
    file: 'reconcile/planner.ts',
    find: "case 'unmanaged':\n      return null;",
    replace: "case 'unmanaged':",
  },
  {
    name: 'a restart stops hard, whatever was asked',
    check: 'no_guest_is_stopped_unasked',
    file: 'reconcile/restart.ts',
    find: "{ kind: 'stop', params: action.params }",
    replace: "{ kind: 'stop', params: { ...action.params, mode: 'stop' } }",
  },
  {
    name: 'a guest that failed once is never tried again',
    check: 'converges_when_faults_end',
    file: 'reconcile/memory.ts',
    find: 'const leftMs = backoff.untilMs - this.#ports.clock.now();',
    replace: 'return backoff;',
  },
  {
    name: 'a new segment does not go on with the chain',
    check: 'journal_verifies',
    file: 'journal/appender.ts',
    find: 'this.#lastSum = draft.lastSum;',
    replace: '',
  },
  {
    name: 'a lane takes whatever comes',
    check: 'memory_and_lanes_are_bounded',
    file: 'reconcile/lanes.ts',
    find: 'lane.queue.size < QUEUED_PER_LANE_MAX',
    replace: 'lane.queue.size < 1_000_000',
  },
  {
    name: 'a stop leaves a wait behind',
    check: 'memory_and_lanes_are_bounded',
    file: 'reconcile/wait.ts',
    find: 'await room.clock.sleep(ms, signal);',
    replace: 'await room.clock.sleep(ms, new AbortController().signal);',
    seed: 50,
  },
  {
    name: 'a second try takes the number of the first',
    check: 'halts_only_when_the_disk_fails',
    file: 'reconcile/op-turn.ts',
    find: 'const number = (last?.attempt.number ?? 0) + 1;',
    replace: 'const number = 1;',
  },
];
