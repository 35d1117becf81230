/** Progress of ops where no terminal is: one line a step, on stderr. */
import type { Vmid } from '../../reconcile/ids.ts';
import { isTerminal, type OpRecord } from '../../reconcile/op.ts';
import type { WaitDocument } from '../control/op-document.ts';
import {
  actionText,
  atMs,
  beginningOf,
  durationText,
  recordText,
  STATE_COLOURS,
} from './op-text.ts';
import { type Channel, printable } from './terminal.ts';

const STATE_CHARS = 'task_running'.length;
/** A vmid and a usual name; longer ones push their line to the right. */
const GUEST_CHARS = 18;

export interface Progress {
  record(record: OpRecord): void;
  waiting(vmid: Vmid, wait: WaitDocument): void;
}

export function createProgress(err: Channel, nameOf: (vmid: Vmid) => string | null): Progress {
  const begun = new Map<string, number>();
  const guest = (vmid: Vmid): string => {
    const name = nameOf(vmid);
    return (name === null ? `${vmid}` : `${vmid} ${printable(name)}`).padEnd(GUEST_CHARS);
  };
  return {
    record(record) {
      const startMs = begun.get(record.op_id) ?? beginningOf(record);
      if (isTerminal(record.state)) begun.delete(record.op_id);
      else if (startMs !== null) begun.set(record.op_id, startMs);
      const isTimed = isTerminal(record.state) && startMs !== null;
      const took = isTimed ? ` (${durationText(atMs(record) - startMs)})` : '';
      const state = err.paint(STATE_COLOURS[record.state], record.state.padEnd(STATE_CHARS));
      const details = recordText(record);
      const end = details === '' ? '' : `: ${details}`;
      err.line(`${state}  ${guest(record.vmid)}  ${actionText(record)}${took}${end}`);
    },
    waiting(vmid, { code, message }) {
      const state = err.paint('yellow', 'waiting'.padEnd(STATE_CHARS));
      err.line(`${state}  ${guest(vmid)}  ${code}: ${printable(message)}`);
    },
  };
}
