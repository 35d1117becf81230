/**
 * `apply [REF…]`: one pass now, with progress per op: through the running agent, else by ourselves
 * under the journal's lock.
 * `agent --once` is the same over all guests, with recovery first and without a question.
 */
import type { Vmid } from '../../reconcile/ids.ts';
import { hasWork, type Plan } from '../../reconcile/plan.ts';
import type { CommandContext } from '../command-line/command.ts';
import { loadConfig } from '../config/config.ts';
import { findAgent } from '../control/find-agent.ts';
import { openingNotes } from '../daemon/open-ledger.ts';
import {
  assertSighted,
  openSession,
  type Session,
  type WritingSession,
} from '../daemon/session.ts';
import { createTaskLog } from '../daemon/task-log.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { systemClock } from '../system.ts';
import { createOpView, type OpView } from '../terminal/op-view.ts';
import { planLines } from '../terminal/plan-text.ts';
import { askYesNo } from '../terminal/question.ts';
import { printable } from '../terminal/terminal.ts';
import { applyThroughAgent } from './apply-agent.ts';
import { FailedOps } from './failed-ops.ts';
import { resolveRefs } from './plan.ts';
import { showOutcome } from './plan-outcome.ts';

export async function runApply(
  context: CommandContext,
  { refs, yes = false }: { readonly refs: readonly string[]; readonly yes?: boolean },
): Promise<ExitCode> {
  const isAsked = !yes && process.stdin.isTTY && context.terminal.err.isTerminal;
  const { control } = await loadConfig(context.configFile);
  await using agent = await findAgent(control.socket);
  if (agent !== null) {
    const ask = (plan: Plan): Promise<boolean> => confirm(context, plan);
    return await applyThroughAgent(context, agent, { refs, confirm: isAsked ? ask : null });
  }
  await using session = await openSession(context.configFile, { access: 'write' });
  const only = await resolveRefs(session, refs, context.signal);
  const options = only === null ? {} : { only };
  if (isAsked) {
    const plan = await session.engine.plan(options);
    assertSighted(session);
    if (!hasWork(plan)) {
      return showOutcome(context, session, plan);
    }
    if (!(await confirm(context, plan))) return EXIT.failed;
  }
  session.engine.recover();
  return await convergeOnce(context, session, options);
}

/** Passes until nothing more can be done, then the plan that is left, on stdout. */
export async function convergeOnce(
  context: CommandContext,
  session: WritingSession,
  options: { readonly only?: ReadonlySet<Vmid> },
): Promise<ExitCode> {
  const { engine, journal } = session;
  const { err } = context.terminal;
  for (const note of openingNotes(journal)) err.line(`note: ${note}`);
  const outcome = watchOutcome(session);
  const view = showOps(session, context);
  const stop = (): void => void engine.stop();
  context.signal.addEventListener('abort', stop);
  try {
    const plan = await engine.converge(options).finally(() => view.close());
    outcome.halted.throwIfAborted();
    const failures = outcome.failed.print(context.terminal);
    assertSighted(session);
    const left = showOutcome(context, session, plan);
    return failures > 0 ? EXIT.failed : left;
  } catch (error) {
    // What ended the engine says more than its being ended.
    outcome.halted.throwIfAborted();
    context.signal.throwIfAborted();
    throw error;
  } finally {
    context.signal.removeEventListener('abort', stop);
  }
}

function showOps(
  { events, looks, proxmox }: Session,
  { terminal: { err } }: CommandContext,
): OpView {
  const readLine = createTaskLog({ proxmox, clock: systemClock });
  const view = createOpView({
    err,
    clock: systemClock,
    nameOf: (vmid) => looks.actual?.guests.get(vmid)?.name ?? null,
    lastLine: async ({ upid }) => (upid === undefined ? null : readLine(upid)),
  });
  events.subscribe((event) => {
    if (event.kind === 'op') view.record(event.record);
    if (event.kind === 'waiting') {
      const { vmid, wait } = event;
      view.wait(vmid, wait === null ? null : { code: wait.code, message: wait.message });
    }
    if (event.kind === 'problem') {
      const { code, message } = event.problem;
      view.note(`${err.paint('yellow', code)}: ${printable(message)}`);
    }
  });
  return view;
}

function watchOutcome({ events }: Session): { halted: AbortSignal; failed: FailedOps } {
  const halt = new AbortController();
  const failed = new FailedOps();
  events.subscribe((event) => {
    if (event.kind === 'op') failed.record(event.record);
    if (event.kind === 'halted') halt.abort(event.error);
  });
  return { halted: halt.signal, failed };
}

async function confirm(
  { terminal: { err }, signal }: CommandContext,
  plan: Plan,
): Promise<boolean> {
  for (const line of planLines(plan, err)) err.line(line);
  const { stdin: input, stderr: output } = process;
  const isWanted = await askYesNo('Apply this? [y/N] ', { input, output, signal });
  if (!isWanted) err.line('not applied');
  return isWanted;
}
