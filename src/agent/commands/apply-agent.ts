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
import { planOfDocument } from '../control/plan-answer.ts';
import type { ServerEvent } from '../control/server-events.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { systemClock } from '../system.ts';
import { createOpView, type OpView } from '../terminal/op-view.ts';
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

/** Those of its ops that failed. Throws `interrupted` when it is watched no more. */
async function runPass(
  context: CommandContext,
  agent: ControlClient,
  refs: readonly string[],
): Promise<FailedOps> {
  const { terminal, signal } = context;
  const names = await namesOf(agent);
  const nameOf = (vmid: Vmid): string | null => names.get(vmid) ?? null;
  const over = new AbortController();
  // The stream first: nothing of the pass comes before it, and where it is refused there is none.
  const events = await agent.openEvents({
    types: ['op', 'guest', 'pass'],
    signal: AbortSignal.any([signal, over.signal]),
  });
  const body = refs.length === 0 ? {} : { refs: [...refs] };
  const lastLine = (record: OpRecord): Promise<string | null> => askLastLine(agent, record);
  const view = createOpView({ err: terminal.err, clock: systemClock, nameOf, lastLine });
  const failed = new FailedOps();
  try {
    const { pass_id: passId } = await agent.call(API.reconcile, { body });
    const end = await showPass(events, { passId, view, failed }).catch((cause: unknown) => {
      if (signal.aborted) return null;
      throw wasCut(cause);
    });
    if (end === 'settled') return failed;
    if (end === 'failed') {
      throw new ReconcilerError('internal_error', 'the pass failed; the log of the agent says why');
    }
  } finally {
    view.close();
    over.abort();
    await events.return(undefined);
  }
  if (!signal.aborted) throw wasCut();
  throw new ReconcilerError('interrupted', 'stopped watching; the pass goes on in the agent', {
    hint: 'see how it goes with `pve-reconciler status` and `pve-reconciler ops list --in-flight`',
  });
}

/** How the pass ended; null: the agent ended the stream before. */
async function showPass(
  events: AsyncIterable<ServerEvent>,
  {
    passId,
    view,
    failed,
  }: { readonly passId: string; readonly view: OpView; readonly failed: FailedOps },
): Promise<'settled' | 'failed' | null> {
  for await (const { type, data } of events) {
    const json: unknown = JSON.parse(data);
    if (type === 'guest') showWait(json, null, view.wait.bind(view));
    const record = type === 'op' ? readRecord(json) : null;
    if (record !== null) {
      view.record(record);
      if (record.correlation_id === passId) failed.record(record);
    }
    const end = type === 'pass' ? endOf(json, passId) : null;
    if (end !== null) return end;
  }
  return null;
}

function wasCut(cause?: unknown): ReconcilerError {
  return new ReconcilerError('interrupted', 'the stream was cut during the pass', {
    hint: 'what it has begun goes on, or is taken up when the agent starts again: `pve-reconciler ops list`',
    cause,
  });
}

function endOf(json: unknown, passId: string): 'settled' | 'failed' | null {
  if (typeof json !== 'object' || json === null) return null;
  if (!('pass_id' in json) || json.pass_id !== passId || !('state' in json)) return null;
  return json.state === 'settled' || json.state === 'failed' ? json.state : null;
}
