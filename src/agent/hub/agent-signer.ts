/**
 * What the agent signs with its own key, for its hub: receipts, refusals, and who it is that asks
 * for the stream. A receipt is the terminal record as it stands in the journal, with its seq and
 * its sum there: the same record always gives the same bytes, so a repeat is recognised by its
 * op_id and seq.
 */
import type { SealedOp } from '../../journal/op-record.ts';
import type { Problem } from '../../reconcile/errors.ts';
import type { OpRecord } from '../../reconcile/op.ts';
import type { SigningKey } from './agent-key.ts';
import { addSignature, type Envelope } from './dsse.ts';

export const RECEIPT_PAYLOAD_TYPE = 'application/vnd.pve-reconciler.receipt.v1+json';
/** An event of the stream that became no op, so that its sender need not wait for one. */
export const REFUSAL_PAYLOAD_TYPE = 'application/vnd.pve-reconciler.refusal.v1+json';
/** Proves whose stream is asked for: `{agent, hub, issued_at, expires_at}`. */
export const REQUEST_PAYLOAD_TYPE = 'application/vnd.pve-reconciler.request.v1+json';

/** A request is under way for seconds; whoever gets hold of one has no use for it later. */
export const REQUEST_LIFETIME_MS = 60_000;

export interface AgentSigner {
  receipt(record: SealedOp): Envelope;
  refusal(refused: { readonly eventId: string; readonly problem: Problem }): Envelope;
  /** `hub`: its URL, as configured; no other hub has a use for it. */
  request(asked: { readonly hub: string; readonly nowMs: number }): Envelope;
}

export function createAgentSigner(agent: string, { privateKey }: SigningKey): AgentSigner {
  const seal = (payloadType: string, content: object): Envelope => {
    const payload = Buffer.from(JSON.stringify({ agent, ...content }));
    return addSignature({ payloadType, payload, signatures: [] }, { keyid: agent, privateKey });
  };
  return {
    receipt: (record) => seal(RECEIPT_PAYLOAD_TYPE, inOrder(record)),
    refusal: ({ eventId, problem }) =>
      seal(REFUSAL_PAYLOAD_TYPE, { event_id: eventId, error: problem }),
    request: ({ hub, nowMs }) =>
      seal(REQUEST_PAYLOAD_TYPE, {
        hub,
        issued_at: new Date(nowMs).toISOString(),
        expires_at: new Date(nowMs + REQUEST_LIFETIME_MS).toISOString(),
      }),
  };
}

/** By name: a record as it happened and one that was read back have their fields in other orders. */
function inOrder(record: SealedOp): object {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Records of the journal carry their sum; the core's type does not know it. */
export function isSealed(record: OpRecord): record is SealedOp {
  return 'sum' in record && typeof record.sum === 'string';
}
