/**
 * What the agent tells its hub, signed with its own key. A receipt is the terminal record as it
 * stands in the journal, with its seq and its sum there: the same record always gives the same
 * bytes, so a repeat is recognised by its op_id and seq.
 */
import type { SealedOp } from '../../journal/op-record.ts';
import type { Problem } from '../../reconcile/errors.ts';
import type { SigningKey } from './agent-key.ts';
import { addSignature, envelopeText } from './dsse.ts';

export const RECEIPT_PAYLOAD_TYPE = 'application/vnd.pve-reconciler.receipt.v1+json';
/** An event of the stream that became no op, so that its sender need not wait for one. */
export const REFUSAL_PAYLOAD_TYPE = 'application/vnd.pve-reconciler.refusal.v1+json';

export interface ReceiptSigner {
  receipt(record: SealedOp): string;
  refusal(refused: { readonly eventId: string; readonly problem: Problem }): string;
}

/** By name: a record as it happened and one that was read back have their fields in other orders. */
function inOrder(record: SealedOp): object {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function createReceiptSigner(agent: string, key: SigningKey): ReceiptSigner {
  const seal = (payloadType: string, content: object): string => {
    const payload = Buffer.from(JSON.stringify({ agent, ...content }));
    const envelope = { payloadType, payload, signatures: [] };
    return envelopeText(addSignature(envelope, { keyid: agent, privateKey: key.privateKey }));
  };
  return {
    receipt: (record) => seal(RECEIPT_PAYLOAD_TYPE, inOrder(record)),
    refusal: ({ eventId, problem }) =>
      seal(REFUSAL_PAYLOAD_TYPE, { event_id: eventId, error: problem }),
  };
}
