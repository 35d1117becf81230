/** What a plan ends with: the plan on stdout, on stderr what could not be read, the exit status. */
import { type Problem, ReconcilerError } from '../../reconcile/errors.ts';
import type { Plan } from '../../reconcile/plan.ts';
import {
  type CommandContext,
  type Failure,
  printFailure,
  printJson,
} from '../command-line/command.ts';
import { loadConfig } from '../config/config.ts';
import { API } from '../control/api.ts';
import type { ControlClient } from '../control/client.ts';
import type { PlanDocument } from '../control/documents.ts';
import { planOfDocument } from '../control/plan-answer.ts';
import { planDocument } from '../control/plan-document.ts';
import { desiredProblems, unseenHint } from '../daemon/last-look.ts';
import type { Session } from '../daemon/session.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { planLines } from '../terminal/plan-text.ts';
import type { Terminal } from '../terminal/terminal.ts';

/** Of a look of our own. */
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

/**
 * Of a running agent, ending the same: nothing seen at all is thrown, what is wrong else is 1.
 * `rejected`: what we found wrong ourselves, in documents that the agent may not have.
 */
export async function showAgentPlan(
  { terminal, isJson, configFile }: CommandContext,
  agent: ControlClient,
  document: PlanDocument,
  rejected: readonly Problem[] = [],
): Promise<ExitCode> {
  const { readiness, parts } = await agent.call(API.getAgent);
  const isBlind = parts.some(({ name, ok }) => name === 'pve' && !ok);
  const unseen = readiness.reasons.find(({ code }) => code !== 'desired_invalid');
  if (isBlind && unseen !== undefined) {
    const hint = unseenHint(unseen.code, await loadConfig(configFile));
    throw new ReconcilerError(unseen.code, unseen.message, hint === undefined ? {} : { hint });
  }
  const plan = planOfDocument(document);
  if (isJson) printJson(terminal, document);
  else for (const line of planLines(plan, terminal.out)) terminal.out.line(line);
  const known = new Set(readiness.reasons.map(({ message }) => message));
  const news = rejected.filter(({ message }) => !known.has(message));
  const problems: readonly Failure[] = [...readiness.reasons, ...news];
  for (const { code, message, hint } of problems) printFailure(terminal, { code, message, hint });
  const unread = printUnread(terminal, plan);
  return unread > 0 || problems.length > 0 ? EXIT.failed : EXIT.ok;
}

/** How many guests could not be read: each is an error line. */
function printUnread(terminal: Terminal, { entries }: Plan): number {
  const unread = entries.filter(({ status }) => status === 'unknown');
  for (const { vmid, conditions } of unread) {
    const message = conditions.map((condition) => condition.message).join('; ');
    const [code = 'service_unavailable'] = conditions.flatMap(({ cause = [] }) => cause);
    printFailure(terminal, { code, message, ids: { vmid } });
  }
  return unread.length;
}
