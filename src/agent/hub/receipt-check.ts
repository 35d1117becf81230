/**
 * A receipt as whoever asked for the op may believe it: signed with the agent's key, and about this
 * op and no other. Between the two may be anybody, since `control.public` speaks plain HTTP.
 */
import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import { ERROR_CODES, ReconcilerError } from '../../reconcile/errors.ts';
import { requireTextFile } from '../config/text-file.ts';
import { opIdSchema } from './agent-api.ts';
import { RECEIPT_PAYLOAD_TYPE } from './agent-signer.ts';
import { type EnvelopeJson, isSignedBy, parseEnvelope, preAuthEncoding } from './dsse.ts';
import type { SignedOp } from './op-payload.ts';
import { KEY_FILE_MAX_BYTES, parsePublicKey } from './signers.ts';
import { parseStrictJson } from './strict-json.ts';

const RECORD_MAX_DEPTH = 16;

const receiptSchema = z.looseObject({
  agent: z.string(),
  op_id: opIdSchema,
  idemp_key: z.string(),
  vmid: z.number(),
  kind: z.string(),
  state: z.enum(['succeeded', 'failed']),
  error: z.looseObject({ code: z.enum(ERROR_CODES), message: z.string() }).optional(),
});
export type Receipt = z.infer<typeof receiptSchema>;

/** Throws `signature_invalid`: then nobody has said how the op ended. */
export function openReceipt(
  receipt: EnvelopeJson,
  { op, agentKey }: { readonly op: SignedOp; readonly agentKey: KeyObject },
): Receipt {
  const parsed = parseEnvelope(Buffer.from(JSON.stringify(receipt)));
  if (parsed.kind === 'invalid') throw notOurs(parsed.reason);
  const { envelope } = parsed;
  const encoded = preAuthEncoding(envelope);
  const isSigned = envelope.signatures.some(({ signature }) =>
    isSignedBy(encoded, signature, agentKey),
  );
  if (!isSigned || envelope.payloadType !== RECEIPT_PAYLOAD_TYPE) {
    throw notOurs('it is not signed with the key of --agent-key');
  }
  const json = parseStrictJson(envelope.payload, { maxDepth: RECORD_MAX_DEPTH });
  const said = receiptSchema.safeParse(json.kind === 'json' ? json.value : null);
  if (!said.success) throw notOurs('it is not what this version takes for one');
  const content = said.data;
  const isOfOp =
    content.agent === op.agent &&
    content.idemp_key === op.idempKey &&
    content.vmid === op.vmid &&
    content.kind === op.action.kind;
  if (!isOfOp) throw notOurs(`it is about another op (${content.op_id})`);
  return content;
}

function notOurs(why: string): ReconcilerError {
  return new ReconcilerError('signature_invalid', `the receipt proves nothing: ${why}`, {
    hint: 'is the file what `pve-reconciler keys show` prints on that agent?',
  });
}

/** Throws `invalid_request`, `forbidden`. */
export async function readAgentKey(file: string): Promise<KeyObject> {
  const code = 'invalid_request';
  const hint = '`pve-reconciler keys show` prints it on the agent';
  const text = await requireTextFile(file, { maxBytes: KEY_FILE_MAX_BYTES, code, hint });
  const key = parsePublicKey(text);
  if (key !== null) return key;
  const message = `${file}: expected an Ed25519 public key in PEM`;
  throw new ReconcilerError(code, message, { hint });
}
