/** `ops wait ID`: shows an op's progress and ends with it. */
import { type CommandContext, printFailure, printJson } from '../command-line/command.ts';
import { API } from '../control/api.ts';
import type { OpAnswer } from '../control/documents.ts';
import { requireAgent } from '../control/find-agent.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { durationText } from '../terminal/op-text.ts';
import { watchOp } from '../terminal/watch-op.ts';

export async function runOpsWait(
  context: CommandContext,
  { id }: { readonly id: string },
): Promise<ExitCode> {
  await using agent = await requireAgent(context);
  const op = await agent.call(API.getOp, { params: { op_id: id } });
  return showOpEnd(context, await watchOp(context, agent, op));
}

/** The op that has ended: 0 if it succeeded, 1 if not. */
export function showOpEnd({ terminal, isJson }: CommandContext, op: OpAnswer): ExitCode {
  const { op_id, kind, vmid, state, error, records, phase_since } = op;
  if (isJson) printJson(terminal, op);
  else {
    const tookMs = Date.parse(phase_since) - Date.parse(records[0]?.at ?? phase_since);
    terminal.out.line(`${op_id}  ${kind} of ${vmid}: ${state} after ${durationText(tookMs)}`);
  }
  if (state === 'succeeded') return EXIT.ok;
  if (error !== undefined) {
    printFailure(terminal, { ...error, hint: nextStep(op), ids: { op_id } });
  }
  return EXIT.failed;
}

/** Where the op tells more than its code; else undefined. */
function nextStep({ kind, vmid, error, receipt }: OpAnswer): string | undefined {
  const isDown = receipt?.observed?.['power'] === 'stopped';
  if (kind !== 'restart' || error?.code !== 'conflict' || !isDown) return undefined;
  return `\`pve-reconciler guest start ${vmid}\``;
}
