/** `guest start|stop|restart REF`: an operator's op, through the running agent. */

import { assertNever } from '../../reconcile/errors.ts';
import { type CommandContext, printJson } from '../command-line/command.ts';
import { readDuration } from '../command-line/duration-option.ts';
import { API } from '../control/api.ts';
import type { ControlClient } from '../control/client.ts';
import type { OpAnswer } from '../control/documents.ts';
import { claimedActor, requireAgent } from '../control/find-agent.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { watchOp } from '../terminal/watch-op.ts';
import { showOpEnd } from './ops-wait.ts';

export interface GuestCommandOptions {
  readonly hold?: string;
  /** `stop` and `restart`: cut the power. */
  readonly hard?: boolean;
  /** How long a shutdown may take: `60s`. */
  readonly timeout?: string;
  readonly wait?: boolean;
}

interface GuestOpOptions extends GuestCommandOptions {
  readonly kind: 'start' | 'stop' | 'restart';
  readonly ref: string;
}

export async function runGuestOp(
  context: CommandContext,
  options: GuestOpOptions,
): Promise<ExitCode> {
  const { terminal, isJson } = context;
  if (options.hold !== undefined) readDuration('--hold', options.hold);
  const how = howToStop(options);
  await using agent = await requireAgent(context);
  const op = await submit(agent, options, how);
  if (options.wait === true) return showOpEnd(context, await watchOp(context, agent, op));
  if (isJson) printJson(terminal, op);
  else terminal.out.line(`${op.op_id}  ${op.kind} of ${op.vmid}: ${op.state}`);
  if (!isJson) terminal.err.line(`follow it: pve-reconciler ops wait ${op.op_id}`);
  return EXIT.ok;
}

function submit(
  agent: ControlClient,
  { kind, ref, hold }: GuestOpOptions,
  how: ReturnType<typeof howToStop>,
): Promise<OpAnswer> {
  const params = { ref };
  const asked = { ...claimedActor(process.env), ...(hold === undefined ? {} : { hold }) };
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

/** Throws a usage error, before anything is asked of the agent. */
function howToStop({ hard = false, timeout }: GuestOpOptions) {
  return {
    ...(hard ? { mode: 'stop' as const } : {}),
    ...(timeout === undefined
      ? {}
      : { timeout_s: Math.ceil(readDuration('--timeout', timeout) / 1000) }),
  };
}
