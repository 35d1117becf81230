/**
 * `push`: delivers a signed op to an agent. Safe to repeat: the same envelope is the same op.
 * `--wait` follows it to its end, where the listener shows no ops by delivering it again.
 */
import { isTerminal } from '../../reconcile/op.ts';
import { type CommandContext, printFailure, printJson } from '../command.ts';
import { loadConfig } from '../config.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { type AgentApi, openAgentApi, type PushedOp } from '../hub/agent-api.ts';
import { envelopeText } from '../hub/dsse.ts';
import { readEnvelope } from '../hub/envelope-file.ts';
import { systemClock } from '../system.ts';
import { type Channel, printable } from '../terminal.ts';

export interface PushOptions {
  readonly to?: string;
  readonly ca?: string;
  readonly wait?: boolean;
}

const WAIT_INTERVAL_MS = 500;

export async function runPush(
  { terminal, isJson, configFile, signal }: CommandContext,
  { file, to, ca, wait = false }: PushOptions & { readonly file: string },
): Promise<ExitCode> {
  const { envelope } = await readEnvelope(file);
  const text = envelopeText(envelope);
  const target = to ?? `unix:${(await loadConfig(configFile)).control.socket}`;
  await using api = await openAgentApi(target, ca);
  const taken = await api.postOp(text);
  const op = wait ? await awaitEnd(api, taken, { text, signal, err: terminal.err }) : taken;
  if (isJson) printJson(terminal, op);
  else terminal.out.line(`${op.op_id}  ${op.state}`);
  if (!wait || op.error === undefined) return EXIT.ok;
  printFailure(terminal, { ...op.error, ids: { op_id: op.op_id } });
  return EXIT.failed;
}

async function awaitEnd(
  api: AgentApi,
  taken: PushedOp,
  { text, signal, err }: { text: string; signal: AbortSignal; err: Channel },
): Promise<PushedOp> {
  let op = taken;
  let shown = '';
  while (!isTerminal(op.state)) {
    const now = op.waiting_for?.message ?? op.state;
    if (now !== shown) err.line(`${op.op_id}  ${printable(now)}`);
    shown = now;
    await systemClock.sleep(WAIT_INTERVAL_MS, signal);
    signal.throwIfAborted();
    op = (await api.readOp(op.op_id)) ?? (await api.postOp(text));
  }
  return op;
}
