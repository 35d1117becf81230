/**
 * `plan [REF…]`: what differs and what would be done, by a look of our own. Changes nothing, notes
 * nothing.
 */
import type { RejectedDocument } from '../../reconcile/desired.ts';
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import type { Plan } from '../../reconcile/plan.ts';
import type { CommandContext } from '../command-line/command.ts';
import { API } from '../control/api.ts';
import type { ControlClient } from '../control/client.ts';
import { findAgent } from '../control/find-agent.ts';
import { listNameable, resolveRef } from '../control/guest-ref.ts';
import { unseen } from '../daemon/last-look.ts';
import { assertSighted, openSession, type Session } from '../daemon/session.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { showAgentPlan, showOutcome } from './plan-outcome.ts';

export async function runPlan(
  context: CommandContext,
  { refs }: { readonly refs: readonly string[] },
): Promise<ExitCode> {
  await using session = await openSession(context.configFile, { access: 'read' });
  const { rejected } = await session.looks.desiredProvider.read(context.signal);
  if (rejected.length > 0) {
    await using agent = await findLastGood(context, session);
    if (agent !== null) return await showItsPlan(context, agent, { refs, rejected });
  }
  const plan = await planRefs(session, refs, context.signal);
  const failed = showOutcome(context, session, plan);
  if (failed !== EXIT.ok) return failed;
  return plan.entries.some(({ status }) => status === 'drift') ? EXIT.differs : EXIT.ok;
}

/** The last good version of a rejected document is in force in a running agent and nowhere else. */
async function findLastGood(
  { terminal: { err } }: CommandContext,
  { config }: Session,
): Promise<ControlClient | null> {
  try {
    return await findAgent(config.control.socket);
  } catch (error) {
    if (!(error instanceof ReconcilerError)) throw error;
    err.line(`note: what the running agent has in force is not known here: ${error.detail}`);
    return null;
  }
}

async function showItsPlan(
  context: CommandContext,
  agent: ControlClient,
  asked: { readonly refs: readonly string[]; readonly rejected: readonly RejectedDocument[] },
): Promise<ExitCode> {
  const { refs, rejected } = asked;
  const query = refs.length === 0 ? {} : { ref: [...refs] };
  const document = await agent.call(API.getPlan, { query });
  const { err } = context.terminal;
  err.line('note: a document is rejected; this is the plan by what the running agent has in force');
  const problems = rejected.map(({ problem }) => problem);
  return await showAgentPlan(context, agent, document, problems);
}

/** The plan of the guests that the refs name; of all desired guests without any. */
async function planRefs(
  session: Session,
  refs: readonly string[],
  signal: AbortSignal,
): Promise<Plan> {
  const only = await resolveRefs(session, refs, signal);
  const plan = await session.engine.plan(only === null ? {} : { only });
  assertSighted(session);
  return plan;
}

/** Null without refs: all. A ref may name a desired guest or one that PVE lists. */
export async function resolveRefs(
  session: Session,
  refs: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlySet<Vmid> | null> {
  if (refs.length === 0) return null;
  const { looks } = session;
  await looks.desiredProvider.read(signal);
  await looks.guests.observe({ configs: new Set(), wanted: new Set() }, signal);
  assertSighted(session);
  const guests = listNameable(looks);
  return new Set(refs.map((ref) => resolveRef(ref, guests, unseen(looks.actual))));
}
