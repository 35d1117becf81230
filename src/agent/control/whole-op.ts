/**
 * One op in full, as `GET /v1/ops/{op_id}` gives it and whoever asks something of an op that is
 * there already: its records, what it waits for, its outcome in one place, and its end as the hub
 * gets it.
 */

import type { EnvelopeJson } from '../hub/dsse.ts';
import { describeOp, describeWaits, type OpDocument } from './op-document.ts';
import { type ReceiptDocument, readReceipt, receiptDocument } from './op-receipt.ts';
import { recordsOf } from './op-ref.ts';
import type { ControlPorts } from './ports.ts';

export interface WholeOp extends OpDocument {
  readonly receipt: ReceiptDocument;
  /** Signed; there as soon as nothing more can follow. */
  readonly signed_receipt?: EnvelopeJson;
}

/**
 * `ref`: an op id, or a prefix that is one op's alone. Throws `not_found`, `ambiguous_ref`. To be
 * called in a turn (reading-turns.ts); `gone`: nobody waits for it any more.
 */
export async function readWholeOp(
  ref: string,
  {
    history,
    ledger,
    engine,
    sealReceipt,
  }: Pick<ControlPorts, 'history' | 'ledger' | 'engine' | 'sealReceipt'>,
  gone?: AbortSignal,
): Promise<WholeOp> {
  const found = await history.readOp(ref, gone);
  const records = recordsOf(ref, found);
  const [first] = records;
  const waitOf = describeWaits({ inFlight: ledger.opsInFlight(), waits: engine.waits() });
  const sealed = sealReceipt?.(records.at(-1) ?? first) ?? null;
  return {
    ...describeOp(records, waitOf(first.op_id)),
    receipt: receiptDocument(await readReceipt(records, found, history, gone)),
    ...(sealed === null ? {} : { signed_receipt: sealed }),
  };
}
