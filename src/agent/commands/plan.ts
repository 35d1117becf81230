/** `plan [REF…]`: what differs and what would be done. Changes nothing, notes nothing. */
import type { Vmid } from '../../reconcile/ids.ts';
import type { Plan } from '../../reconcile/plan.ts';
import { type CommandContext, printFailure, printJson } from '../command-line/command.ts';
import { type Nameable, resolveRef } from '../control/guest-ref.ts';
import { planDocument } from '../control/plan-document.ts';
import { desiredProblems } from '../daemon/last-look.ts';
import { assertSighted, openSession, type Session } from '../daemon/session.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { planLines } from '../terminal/plan-text.ts';
import type { Terminal } from '../terminal/terminal.ts';

export async function runPlan(
  context: CommandContext,
  { refs }: { readonly refs: readonly string[] },
): Promise<ExitCode> {
  await using session = await openSession(context.configFile, { access: 'read' });
  const plan = await planRefs(session, refs, context.signal);
  const failed = showOutcome(context, session, plan);
  if (failed !== EXIT.ok) return failed;
  return plan.entries.some(({ status }) => status === 'drift') ? EXIT.differs : EXIT.ok;
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
  { looks }: Session,
  refs: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlySet<Vmid> | null> {
  if (refs.length === 0) return null;
  const desired = await looks.desiredProvider.read(signal);
  const actual = await looks.guests.observe({ configs: new Set(), wanted: new Set() }, signal);
  const known = new Map<Vmid, Nameable>();
  for (const { vmid, name } of desired.guests.values()) known.set(vmid, { vmid, name });
  for (const vmid of desired.claimedTwice.keys()) known.set(vmid, { vmid, name: null });
  for (const { vmid, name } of actual.guests.values()) known.set(vmid, { vmid, name });
  return new Set(refs.map((ref) => resolveRef(ref, known.values())));
}

/** The plan on stdout, and on stderr what could not be read; 1 if there was anything. */
export function showOutcome(context: CommandContext, { looks }: Session, plan: Plan): ExitCode {
  const { terminal, isJson } = context;
  const problems = desiredProblems(looks.desired);
  if (isJson) {
    printJson(terminal, planDocument(plan, looks.desired?.rejected ?? []));
  } else if (plan.entries.length > 0 || problems.length === 0) {
    for (const line of planLines(plan, terminal.out)) terminal.out.line(line);
  }
  for (const { code, message } of problems) printFailure(terminal, { code, message });
  const unread = printUnread(terminal, plan);
  return problems.length > 0 || unread > 0 ? EXIT.failed : EXIT.ok;
}

/** How many guests could not be read: each is an error line. */
export function printUnread(terminal: Terminal, { entries }: Plan): number {
  const unread = entries.filter(({ status }) => status === 'unknown');
  for (const { vmid, conditions } of unread) {
    const message = conditions.map((condition) => condition.message).join('; ');
    printFailure(terminal, { code: 'service_unavailable', message, ids: { vmid } });
  }
  return unread.length;
}
