/**
 * Watching ops of a running agent to their end. A connection that is lost is taken up again; an
 * interrupt ends the watching and not the work.
 */

import { ReconcilerError } from '../../reconcile/errors.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import { isTerminal, type OpRecord } from '../../reconcile/op.ts';
import type { CommandContext } from '../command-line/command.ts';
import { API } from '../control/api.ts';
import { type ControlClient, isForNow, isNoAgent, isRefusal } from '../control/client.ts';
import { guestDocument, type OpAnswer, opRecord } from '../control/documents.ts';
import { followEvents, RETRY_MS } from '../control/follow.ts';
import type { WaitDocument } from '../control/op-document.ts';
import type { ServerEvent } from '../control/server-events.ts';
import { systemClock } from '../system.ts';
import { createOpView, type OpView } from './op-view.ts';

/** The op as it ended. Throws `interrupted` when told to stop watching, or when it cannot go on. */
export async function watchOp(
  context: CommandContext,
  agent: ControlClient,
  op: OpAnswer,
): Promise<OpAnswer> {
  if (isTerminal(op.state)) return op;
  const ended = await watchToEnd(context, agent, op).catch((error: unknown) => {
    // Whoever asked for the op has to learn which one it is: asked again it would be done twice.
    const why = error instanceof Error ? error.message : String(error);
    throw goesOn(op, `the op goes on in the agent, and cannot be watched: ${why}`, error);
  });
  return ended ?? Promise.reject(goesOn(op, 'stopped watching; the op goes on in the agent'));
}

function goesOn({ op_id }: OpAnswer, message: string, cause?: unknown): ReconcilerError {
  return new ReconcilerError('interrupted', message, {
    hint: `watch it again: pve-reconciler ops wait ${op_id}`,
    context: { op_id },
    cause,
  });
}

/** Null: it was told to stop. */
async function watchToEnd(
  { terminal, signal }: CommandContext,
  agent: ControlClient,
  op: OpAnswer,
): Promise<OpAnswer | null> {
  const names = await namesOf(agent).catch((): ReadonlyMap<Vmid, string> => new Map());
  const nameOf = (vmid: Vmid): string | null => names.get(vmid) ?? null;
  const lastLine = (record: OpRecord): Promise<string | null> => askLastLine(agent, record);
  const view = createOpView({ err: terminal.err, clock: systemClock, nameOf, lastLine });
  let lastLoss = '';
  const noteLoss = (error: unknown): void => {
    const loss = lossText(error);
    if (loss !== lastLoss) view.note(loss);
    lastLoss = loss;
  };
  const steps = followEvents(agent, {
    types: ['op', 'guest'],
    // From the op's own beginning: what came before this connection is shown, too.
    afterSeq: (op.records[0]?.seq ?? 1) - 1,
    clock: systemClock,
    signal,
  });
  try {
    for await (const step of steps) {
      if (step.kind === 'lost') noteLoss(step.error);
      else {
        lastLoss = '';
        if (!showStep(step.event, op, view)) continue;
      }
      // A failed attempt and the next one's beginning come in one write: by now it shows. And an
      // agent that has no stream to give still says how the op is.
      const latest = await askOp(agent, op.op_id, { signal, noteLoss });
      if (latest === null || isTerminal(latest.state)) return latest;
    }
  } finally {
    view.close();
  }
  return null;
}

/** Has the op, or a try of it, ended? */
function showStep({ type, data }: ServerEvent, op: OpAnswer, view: OpView): boolean {
  const json: unknown = JSON.parse(data);
  if (type === 'guest') showWait(json, op.vmid, view.wait.bind(view));
  const record = type === 'op' ? readRecord(json) : null;
  const isOurs = record?.op_id === op.op_id || record?.parent_op_id === op.op_id;
  if (record === null || !isOurs) return false;
  view.record(record);
  return record.op_id === op.op_id && isTerminal(record.state);
}

/** An agent that cannot say is asked until it can; null once told to stop. */
async function askOp(
  agent: ControlClient,
  op_id: string,
  { signal, noteLoss }: { signal: AbortSignal; noteLoss: (error: unknown) => void },
): Promise<OpAnswer | null> {
  while (!signal.aborted) {
    try {
      return await agent.call(API.getOp, { params: { op_id } });
    } catch (error) {
      if (!isForNow(error)) throw error;
      noteLoss(error);
    }
    await systemClock.sleep(RETRY_MS, signal);
  }
  return null;
}

function lossText(error: unknown): string {
  if (isNoAgent(error)) return 'the agent is gone; waiting for it to come back';
  if (isRefusal(error)) return `${error.detail}; asking again`;
  return 'the stream was cut; going on';
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
