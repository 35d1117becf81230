/** Why an op in flight waits: only the agent that runs it knows. */
import type { OpId } from '../../reconcile/ids.ts';
import { API } from '../control/api.ts';
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

export function waitText(wait: WaitDocument): string {
  return `waits: ${whyText(wait)}`;
}

/** `until` is no end that is known: what it waits for may be over sooner, or not be over then. */
export function whyText({ code, message, until }: WaitDocument): string {
  const again = until === undefined ? '' : `; looked at again, or given up, at ${until}`;
  return `${code}: ${printable(message)}${again}`;
}
