/** Progress of ops while a command waits: one line a step, on stderr. */
import type { EngineEvent } from '../reconcile/events.ts';
import type { Vmid } from '../reconcile/ids.ts';
import { isTerminal, type OpRecord } from '../reconcile/op.ts';
import { actionText, atMs, durationText, recordText, STATE_COLOURS } from './op-text.ts';
import { type Channel, printable } from './terminal.ts';

const STATE_CHARS = 'task_running'.length;
/** A vmid and a usual name; longer ones push their line to the right. */
const GUEST_CHARS = 18;

export function createProgress(
  err: Channel,
  nameOf: (vmid: Vmid) => string | null,
): (event: EngineEvent) => void {
  const begun = new Map<string, number>();
  const guest = (vmid: Vmid): string => {
    const name = nameOf(vmid);
    return name === null ? `${vmid}` : `${vmid} ${printable(name)}`;
  };
  const show = (record: OpRecord): void => {
    const startMs = begun.get(record.op_id) ?? atMs(record);
    if (isTerminal(record.state)) begun.delete(record.op_id);
    else begun.set(record.op_id, startMs);
    const took = isTerminal(record.state) ? ` (${durationText(atMs(record) - startMs)})` : '';
    const state = err.paint(STATE_COLOURS[record.state], record.state.padEnd(STATE_CHARS));
    const details = recordText(record);
    const end = details === '' ? '' : `: ${details}`;
    err.line(
      `${state}  ${guest(record.vmid).padEnd(GUEST_CHARS)}  ${actionText(record)}${took}${end}`,
    );
  };
  return (event) => {
    if (event.kind === 'op') show(event.record);
    if (event.kind === 'waiting' && event.wait !== null) {
      const state = err.paint('yellow', 'waiting'.padEnd(STATE_CHARS));
      const { code, message } = event.wait;
      err.line(
        `${state}  ${guest(event.vmid).padEnd(GUEST_CHARS)}  ${code}: ${printable(message)}`,
      );
    }
    if (event.kind === 'problem') {
      err.line(`${err.paint('yellow', event.problem.code)}: ${printable(event.problem.message)}`);
    }
  };
}
