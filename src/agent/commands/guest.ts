/** `guest start|stop|restart REF`: an operator's op, through the running agent. */
import { assertNever } from '../../reconcile/errors.ts';
import { type CommandContext, printJson } from '../command.ts';
import { API } from '../control/api.ts';
import type { ControlClient } from '../control/client.ts';
import type { OpAnswer } from '../control/documents.ts';
import { claimedActor, requireAgent } from '../control/find-agent.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { watchOp } from '../watch-op.ts';
import { showOpEnd } from './ops-wait.ts';

export interface GuestOpOptions {
  readonly kind: 'start' | 'stop' | 'restart';
  readonly ref: string;
  readonly hold?: string;
  /** `stop` and `restart`: cut the power. */
  readonly hard?: boolean;
  /** Seconds a shutdown may take. */
  readonly timeout?: number;
  readonly wait?: boolean;
}

export async function runGuestOp(
  context: CommandContext,
  options: GuestOpOptions,
): Promise<ExitCode> {
  const { terminal, isJson } = context;
  await using agent = await requireAgent(context);
  const op = await submit(agent, options);
  if (options.wait === true) return showOpEnd(context, await watchOp(context, agent, op));
  if (isJson) printJson(terminal, op);
  else terminal.out.line(`${op.op_id}  ${op.kind} of ${op.vmid}: ${op.state}`);
  if (!isJson) terminal.err.line(`follow it: pve-reconciler ops wait ${op.op_id}`);
  return EXIT.ok;
}

function submit(agent: ControlClient, options: GuestOpOptions): Promise<OpAnswer> {
  const { kind, ref, hold, hard = false, timeout } = options;
  const params = { ref };
  const asked = { ...claimedActor(process.env), ...(hold === undefined ? {} : { hold }) };
  const how = {
    ...(hard ? { mode: 'stop' as const } : {}),
    ...(timeout === undefined ? {} : { timeout_s: timeout }),
  };
  switch (kind) {
    case 'start':
      return agent.call(API.startGuest, { params, body: asked });
    case 'stop':
      return agent.call(API.stopGuest, { params, body: { ...asked, params: how } });
    case 'restart':
      return agent.call(API.restartGuest, { params, body: { ...asked, params: how } });
    default:
      return assertNever(kind);
  }
}
