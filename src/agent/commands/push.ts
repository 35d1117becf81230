/**
 * `push`: delivers a signed op to an agent. Safe to repeat: the same envelope is the same op.
 * `--wait` follows it to its receipt, where the listener shows no ops by delivering it again; with
 * `--agent-key` how it ended is what the agent has signed, whoever is on the way.
 */
import { ReconcilerError } from '../../reconcile/errors.ts';
import {
  type CommandContext,
  printFailure,
  printJson,
  usageError,
} from '../command-line/command.ts';
import { loadConfig } from '../config/config.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { type AgentApi, openAgentApi, type PushedOp } from '../hub/agent-api.ts';
import { envelopeText } from '../hub/dsse.ts';
import { readEnvelope } from '../hub/envelope-file.ts';
import { openReceipt, readAgentKey } from '../hub/receipt-check.ts';
import { systemClock } from '../system.ts';
import { type Channel, printable } from '../terminal/terminal.ts';

export interface PushOptions {
  readonly to?: string;
  readonly ca?: string;
  readonly wait?: boolean;
  readonly agentKey?: string;
}

const WAIT_INTERVAL_MS = 200;

export async function runPush(
  { terminal, isJson, configFile, signal }: CommandContext,
  { file, to, ca, wait = false, agentKey: keyFile }: PushOptions & { readonly file: string },
): Promise<ExitCode> {
  if (keyFile !== undefined && !wait) throw usageError('--agent-key goes with --wait');
  const agentKey = keyFile === undefined ? null : await readAgentKey(keyFile);
  const { envelope, op: asked } = await readEnvelope(file);
  const text = envelopeText(envelope);
  const target = to ?? `unix:${(await loadConfig(configFile)).control.socket}`;
  await using api = await openAgentApi(target, ca);
  const taken = await api.postOp(text);
  const op = wait ? await awaitReceipt(api, taken, { text, signal, err: terminal.err }) : taken;
  const proven =
    agentKey === null || op.signed_receipt === undefined
      ? op
      : openReceipt(op.signed_receipt, { op: asked, agentKey });
  const { op_id, state, error } = proven;
  if (isJson) printJson(terminal, { ...op, op_id, state, error });
  else terminal.out.line(`${op_id}  ${state}`);
  if (!wait || state === 'succeeded') return EXIT.ok;
  if (error !== undefined) printFailure(terminal, { ...error, ids: { op_id } });
  return EXIT.failed;
}

/** A failed attempt is not the end: another may follow, and only then there is a receipt. */
async function awaitReceipt(
  api: AgentApi,
  taken: PushedOp,
  { text, signal, err }: { text: string; signal: AbortSignal; err: Channel },
): Promise<PushedOp> {
  let op = taken;
  let shown = '';
  while (op.signed_receipt === undefined) {
    const now = op.waiting_for?.message ?? op.state;
    if (now !== shown) err.line(`${op.op_id}  ${printable(now)}`);
    shown = now;
    await systemClock.sleep(WAIT_INTERVAL_MS, signal);
    if (signal.aborted) throw stoppedWaiting(op);
    op = (await api.readOp(op.op_id)) ?? (await askAgain(api, op, text));
  }
  return op;
}

/** Where the listener shows no ops: a refusal now (`expired`) is the repeat's, never the op's end. */
async function askAgain(api: AgentApi, { op_id }: PushedOp, text: string): Promise<PushedOp> {
  try {
    return await api.postOp(text);
  } catch (error) {
    if (!(error instanceof ReconcilerError) || error.code === 'service_unavailable') throw error;
    const message = `the op was taken, and how it ends is no longer told here: ${error.message}`;
    throw new ReconcilerError('interrupted', message, {
      hint: `\`pve-reconciler ops show ${op_id}\` on the agent's host`,
      context: { op_id },
      cause: error,
    });
  }
}

function stoppedWaiting({ op_id }: PushedOp): ReconcilerError {
  return new ReconcilerError('interrupted', 'stopped waiting; the op goes on in the agent', {
    hint: 'push the same envelope again with --wait',
    context: { op_id },
  });
}
