import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { createLog } from '../../../src/agent/daemon/log.ts';
import { createProblemReporter } from '../../../src/agent/daemon/problem-reporter.ts';
import { createTerminal } from '../../../src/agent/terminal/terminal.ts';
import type { DesiredState } from '../../../src/reconcile/desired.ts';
import type { ErrorCode } from '../../../src/reconcile/errors.ts';
import type { ActualState, Completeness } from '../../../src/reconcile/guest.ts';

const SEEN: Completeness = { kind: 'complete' };

function look(qemu: Completeness): ActualState {
  return {
    lookedAtMs: 0,
    guests: new Map(),
    qemu,
    lxc: qemu,
    tasks: [],
    tasksKnown: SEEN,
    endedTasks: [],
    bulkTasks: [],
    elsewhere: new Map(),
    nowhere: new Set(),
    unseen: new Map(),
    replaced: new Map(),
  };
}

const blind = (code: ErrorCode, message: string): ActualState =>
  look({ kind: 'unknown', problem: { code, message } });

function rejecting(message: string): DesiredState {
  const problem = { code: 'desired_invalid', message } as const;
  const rejected = [{ source: 'web.yaml', problem, isInForce: true }];
  return { guests: new Map(), claimedTwice: new Map(), rejected };
}

/** What is logged after passes that saw this. */
function toldOf(passes: readonly { desired?: DesiredState; actual: ActualState }[]): unknown[] {
  const err = new PassThrough();
  const log = createLog(createTerminal({ out: new PassThrough(), err }, {}).err);
  const looks: { desired: DesiredState | null; actual: ActualState | null } = {
    desired: null,
    actual: null,
  };
  const report = createProblemReporter(looks, log);
  for (const { desired = null, actual } of passes) {
    Object.assign(looks, { desired, actual });
    report();
  }
  const lines = String(err.read() ?? '').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line).message);
}

test('a node that is not asked for a while is told of once, though its words count down', () => {
  const told = toldOf([
    { actual: look(SEEN) },
    { actual: blind('unauthorized', 'no such token [401]') },
    { actual: blind('unauthorized', 'not asked again for 29 s: no such token [401]') },
    { actual: blind('unauthorized', 'not asked again for 28 s: no such token [401]') },
    { actual: blind('service_unavailable', 'connect ECONNREFUSED') },
    { actual: look(SEEN) },
    { actual: look(SEEN) },
  ]);
  expect(told).toEqual([
    'no such token [401]',
    'connect ECONNREFUSED',
    'over: no such token [401]',
    'over: connect ECONNREFUSED',
  ]);
});

test('each mistake in a document is told of, and when it is mended', () => {
  const told = toldOf([
    { actual: look(SEEN), desired: rejecting('web.yaml:3 power') },
    { actual: look(SEEN), desired: rejecting('web.yaml:3 power') },
    { actual: look(SEEN), desired: rejecting('web.yaml:9 cores') },
    { actual: look(SEEN) },
  ]);
  expect(told).toEqual([
    'web.yaml:3 power',
    'web.yaml:9 cores',
    'over: web.yaml:3 power',
    'over: web.yaml:9 cores',
  ]);
});
