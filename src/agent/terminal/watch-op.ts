/**
 * Watching ops of a running agent to their end. A connection that is lost is taken up again; an
 * interrupt ends the watching and not the work.
 */

import { ReconcilerError } from '../../reconcile/errors.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import { isTerminal, type OpRecord } from '../../reconcile/op.ts';
import type { CommandContext } from '../command-line/command.ts';
import { API } from '../control/api.ts';
import type { ControlClient } from '../control/client.ts';
import { guestDocument, type OpAnswer, opRecord } from '../control/documents.ts';
import { followEvents } from '../control/follow.ts';
import type { WaitDocument } from '../control/op-document.ts';
import { systemClock } from '../system.ts';
import { createOpView } from './op-view.ts';

/** The op as it ended. Throws `interrupted` when told to stop watching. */
export async function watchOp(
  context: CommandContext,
  agent: ControlClient,
  op: OpAnswer,
): Promise<OpAnswer> {
  if (isTerminal(op.state)) return op;
  const { terminal, signal } = context;
  const names = await namesOf(agent);
  const nameOf = (vmid: Vmid): string | null => names.get(vmid) ?? null;
  const lastLine = (record: OpRecord): Promise<string | null> => askLastLine(agent, record);
  const view = createOpView({ err: terminal.err, clock: systemClock, nameOf, lastLine });
  let isLost = false;
  const events = followEvents(agent, {
    types: ['op', 'guest'],
    // From the op's own beginning: what came before this connection is shown, too.
    afterSeq: (op.records[0]?.seq ?? 1) - 1,
    clock: systemClock,
    signal,
    onLost() {
      if (!isLost) view.note('the agent is gone; waiting for it to come back');
      isLost = true;
    },
  });
  try {
    for await (const { type, data } of events) {
      isLost = false;
      const json: unknown = JSON.parse(data);
      if (type === 'guest') showWait(json, op.vmid, view.wait.bind(view));
      if (type !== 'op') continue;
      const record = readRecord(json);
      const isOurs = record?.op_id === op.op_id || record?.parent_op_id === op.op_id;
      if (record === null || !isOurs) continue;
      view.record(record);
      if (record.op_id !== op.op_id || !isTerminal(record.state)) continue;
      // A failed attempt and the next one's beginning come in one write: by now it shows.
      const latest = await agent.call(API.getOp, { params: { op_id: op.op_id } });
      if (isTerminal(latest.state)) return latest;
    }
  } finally {
    view.close();
  }
  throw new ReconcilerError('interrupted', 'stopped watching; the op goes on in the agent', {
    hint: `watch it again: pve-reconciler ops wait ${op.op_id}`,
    context: { op_id: op.op_id },
  });
}

/** The last line of its running task's log; null where the agent cannot say: a nicety, no more. */
export async function askLastLine(
  agent: ControlClient,
  { op_id }: OpRecord,
): Promise<string | null> {
  const answer = await agent.call(API.getTaskLog, { params: { op_id } }).catch(() => null);
  return answer?.last_line ?? null;
}

/** Of the agent's guests, for people. */
export async function namesOf(agent: ControlClient): Promise<ReadonlyMap<Vmid, string>> {
  const { guests } = await agent.call(API.listGuests);
  return new Map(guests.flatMap(({ vmid, name }) => (name === null ? [] : [[vmid, name]])));
}

/** A record of the event stream; null where it is none that this version knows. */
export function readRecord(json: unknown): OpRecord | null {
  return isRecord(json) ? json : null;
}

function isRecord(json: unknown): json is OpRecord {
  return opRecord.safeParse(json).success;
}

export function showWait(
  json: unknown,
  vmid: Vmid | null,
  show: (vmid: Vmid, wait: WaitDocument | null) => void,
): void {
  const guest = guestDocument.safeParse(json);
  if (!guest.success) return;
  if (vmid === null || guest.data.vmid === vmid) show(guest.data.vmid, guest.data.waiting_for);
}
