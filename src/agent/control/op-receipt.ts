/**
 * The outcome of one op in one place, as `GET /v1/ops/{op_id}` and `ops show` tell it: the core's
 * receipt, read from the journal with a restart's parts in it, and its names on the wire.
 */
import type { FoundOp, JournalReader } from '../../journal/reader.ts';
import type { OpRecord } from '../../reconcile/op.ts';
import { makeReceipt, type Receipt } from '../../reconcile/receipt.ts';

/** `records` are the op's own, and `found` what the journal said of it. */
export async function readReceipt(
  records: readonly OpRecord[],
  found: FoundOp,
  history: Pick<JournalReader, 'readOp'>,
  gone?: AbortSignal,
): Promise<Receipt> {
  const parts: (readonly OpRecord[])[] = [];
  for (const opId of found.kind === 'found' ? found.parts : []) {
    const part = await history.readOp(opId, gone);
    // Retention may have taken it between the two reads.
    if (part.kind === 'found') parts.push(part.records);
  }
  return makeReceipt({ records, parts, toMs: Date.parse });
}

/** What the op's own document says already (vmid, kind, origin, …) is not said again. */
export interface ReceiptDocument
  extends Pick<Receipt, 'outcome' | 'code' | 'message' | 'upids' | 'log' | 'observed'> {
  readonly attempts: readonly {
    readonly number: number;
    readonly outcome: Receipt['outcome'];
    readonly upid: string | null;
    readonly exit_status: string | null;
    readonly error: Receipt['attempts'][number]['error'];
  }[];
  readonly exit_status: string | null;
  readonly phases: {
    readonly waited_ms: number | null;
    readonly request_ms: number | null;
    readonly task_ms: number | null;
    readonly total_ms: number;
  };
  readonly parts: readonly (ReceiptDocument & Pick<OpRecord, 'op_id' | 'kind'>)[];
}

export function receiptDocument(receipt: Receipt): ReceiptDocument {
  const { outcome, code, message, upids, log, observed, phases } = receipt;
  return {
    outcome,
    code,
    message,
    attempts: receipt.attempts.map(({ exitStatus, ...attempt }) => ({
      ...attempt,
      exit_status: exitStatus,
    })),
    upids,
    exit_status: receipt.exitStatus,
    observed,
    log,
    phases: {
      waited_ms: phases.waitedMs,
      request_ms: phases.requestMs,
      task_ms: phases.taskMs,
      total_ms: phases.totalMs,
    },
    parts: receipt.parts.map((part) => ({
      op_id: part.opId,
      kind: part.kind,
      ...receiptDocument(part),
    })),
  };
}
