/** `ops cancel ID`: ends an op that has not begun; what is in flight is never stopped in PVE. */
import { type CommandContext, printJson } from '../command-line/command.ts';
import { API } from '../control/api.ts';
import { requireAgent } from '../control/find-agent.ts';
import { EXIT, type ExitCode } from '../errors.ts';

export async function runOpsCancel(
  context: CommandContext,
  { id }: { readonly id: string },
): Promise<ExitCode> {
  await using agent = await requireAgent(context);
  const op = await agent.call(API.cancelOp, { params: { op_id: id } });
  if (context.isJson) printJson(context.terminal, op);
  else context.terminal.out.line(`${op.op_id}  ${op.kind} of ${op.vmid}: cancelled`);
  return EXIT.ok;
}
