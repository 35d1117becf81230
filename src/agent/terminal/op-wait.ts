/** Why an op in flight waits: only the agent that runs it knows. */
import type { OpId } from '../../reconcile/ids.ts';
import { API, OPS_LIMIT_MAX } from '../control/api.ts';
import { findAgent } from '../control/find-agent.ts';
import type { WaitDocument } from '../control/op-document.ts';
import { printable } from './terminal.ts';

/** Null: it does not wait. `unknown`: no agent, or no permission to ask it. */
export async function askWhyItWaits(
  socket: string,
  opId: OpId,
): Promise<WaitDocument | null | 'unknown'> {
  const agent = await findAgent(socket).catch(() => null);
  if (agent === null) return 'unknown';
  await using asked = agent;
  const { waiting_for: wait = null } = await asked.call(API.getOp, { params: { op_id: opId } });
  return wait;
}

/** The same of each op in flight that waits; none without an agent, or permission to ask it. */
export async function askWhyOpsWait(socket: string): Promise<ReadonlyMap<OpId, WaitDocument>> {
  const agent = await findAgent(socket).catch(() => null);
  if (agent === null) return new Map();
  await using asked = agent;
  const query = { state: 'in_flight', limit: OPS_LIMIT_MAX } as const;
  const { ops } = await asked.call(API.listOps, { query });
  return new Map(ops.flatMap(({ op_id, waiting_for: wait }) => (wait ? [[op_id, wait]] : [])));
}

export function waitText(wait: WaitDocument): string {
  return `waits: ${whyText(wait)}`;
}

/** `until` is no end that is known: what it waits for may be over sooner, or not be over then. */
export function whyText({ code, message, until, upid }: WaitDocument): string {
  const task = upid === undefined ? '' : ` (${printable(upid)})`;
  const again = until === undefined ? '' : `; looked at again, or given up, at ${until}`;
  return `${code}: ${printable(message)}${task}${again}`;
}
