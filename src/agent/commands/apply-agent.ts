/**
 * `apply` while an agent runs: the agent makes the pass, this shows how it goes. An interrupt ends
 * the showing and not the work.
 */
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import type { OpRecord } from '../../reconcile/op.ts';
import { hasWork, type Plan } from '../../reconcile/plan.ts';
import type { CommandContext } from '../command-line/command.ts';
import { API } from '../control/api.ts';
import type { ControlClient } from '../control/client.ts';
import { followEvents } from '../control/follow.ts';
import { planOfDocument } from '../control/plan-answer.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { systemClock } from '../system.ts';
import { createOpView } from '../terminal/op-view.ts';
import { askLastLine, namesOf, readRecord, showWait } from '../terminal/watch-op.ts';
import { FailedOps } from './failed-ops.ts';
import { showAgentPlan } from './plan-outcome.ts';

export interface AgentApplyOptions {
  readonly refs: readonly string[];
  /** Asks before anything is done; null: nobody is to be asked. */
  readonly confirm: ((plan: Plan) => Promise<boolean>) | null;
}

export async function applyThroughAgent(
  context: CommandContext,
  agent: ControlClient,
  { refs, confirm }: AgentApplyOptions,
): Promise<ExitCode> {
  const query = refs.length === 0 ? {} : { ref: [...refs] };
  if (confirm !== null) {
    const document = await agent.call(API.getPlan, { query });
    const plan = planOfDocument(document);
    if (!hasWork(plan)) return showAgentPlan(context, agent, document);
    if (!(await confirm(plan))) return EXIT.failed;
  }
  const failures = (await runPass(context, agent, refs)).print(context.terminal);
  const left = await showAgentPlan(context, agent, await agent.call(API.getPlan, { query }));
  return failures > 0 ? EXIT.failed : left;
}

/** Those of its ops that failed. Throws `interrupted` when told to stop watching. */
async function runPass(
  context: CommandContext,
  agent: ControlClient,
  refs: readonly string[],
): Promise<FailedOps> {
  const { terminal, signal } = context;
  const names = await namesOf(agent);
  const nameOf = (vmid: Vmid): string | null => names.get(vmid) ?? null;
  const types = ['op', 'guest', 'pass'];
  const over = new AbortController();
  const events = followEvents(agent, {
    types,
    afterSeq: null,
    clock: systemClock,
    signal: AbortSignal.any([signal, over.signal]),
    onLost,
  });
  const body = refs.length === 0 ? {} : { refs: [...refs] };
  const lastLine = (record: OpRecord): Promise<string | null> => askLastLine(agent, record);
  const view = createOpView({ err: terminal.err, clock: systemClock, nameOf, lastLine });
  const failed = new FailedOps();
  try {
    // The stream first: nothing of the pass may come before it. Something of it is to come.
    const [first, { pass_id: passId }] = await Promise.all([
      events.next(),
      agent.call(API.reconcile, { body }),
    ]);
    for (let step = first; step.done !== true; step = await events.next()) {
      const { type, data } = step.value;
      const json: unknown = JSON.parse(data);
      if (type === 'guest') showWait(json, null, view.wait.bind(view));
      const record = type === 'op' ? readRecord(json) : null;
      if (record !== null) {
        view.record(record);
        if (record.correlation_id === passId) failed.record(record);
      }
      const end = type === 'pass' ? endOf(json, passId) : null;
      if (end === 'failed') {
        throw new ReconcilerError(
          'internal_error',
          'the pass failed; the log of the agent says why',
        );
      }
      if (end === 'settled') return failed;
    }
  } finally {
    view.close();
    over.abort();
    await events.return(undefined);
  }
  throw new ReconcilerError('interrupted', 'stopped watching; the pass goes on in the agent', {
    hint: 'see how it goes with `pve-reconciler status` and `pve-reconciler ops list --in-flight`',
  });
}

function onLost(cause: unknown): never {
  throw new ReconcilerError('service_unavailable', 'the agent went away during the pass', {
    hint: 'what was under way is taken up when it starts again: `pve-reconciler ops list`',
    cause,
  });
}

function endOf(json: unknown, passId: string): 'settled' | 'failed' | null {
  if (typeof json !== 'object' || json === null) return null;
  if (!('pass_id' in json) || json.pass_id !== passId || !('state' in json)) return null;
  return json.state === 'settled' || json.state === 'failed' ? json.state : null;
}
