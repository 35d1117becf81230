/**
 * From an envelope to what it proves: whose signatures are valid, and what they signed. The order
 * is CONTRACT 7's: nothing of a payload is read before somebody known has signed it.
 */
import type { Problem } from '../../reconcile/errors.ts';
import { type Envelope, isSignedBy, preAuthEncoding } from './dsse.ts';
import { OP_PAYLOAD_TYPE, parseOpPayload, type SignedOp } from './op-payload.ts';
import type { Signer } from './signers.ts';

/**
 * Keys tried on one envelope, at about 0.1 ms each: a signature without a keyid is tried with all
 * there are, and whoever sends it need not be known.
 */
export const VERIFICATIONS_MAX = 64;

export type Verified =
  | { readonly kind: 'verified'; readonly op: SignedOp; readonly signers: readonly Signer[] }
  | { readonly kind: 'refused'; readonly problem: Problem };

/**
 * `signature_invalid` (no valid signature by a key in force), `invalid_request` (another payload
 * type, too many keys to try, a payload that does not fit), `forbidden` (a valid signer may not do that).
 */
export function verifyEnvelope(
  envelope: Envelope,
  { signers, nowMs }: { readonly signers: readonly Signer[]; readonly nowMs: number },
): Verified {
  if (envelope.payloadType !== OP_PAYLOAD_TYPE) {
    return refused('invalid_request', `the payload type is not ${OP_PAYLOAD_TYPE}`);
  }
  const tries = listTries(envelope, signers);
  if (tries.length > VERIFICATIONS_MAX) {
    const message = `it takes ${tries.length} verifications; name the key of each signature (keyid)`;
    return refused('invalid_request', message);
  }
  const valid = findSigners(envelope, tries);
  const inForce = valid.filter((signer) => isInForce(signer, nowMs));
  if (inForce.length === 0) return refused('signature_invalid', explainNone(envelope, valid));
  const parsed = parseOpPayload(envelope.payload);
  if (parsed.kind === 'invalid') return refused('invalid_request', parsed.reason);
  const { op } = parsed;
  const overreaching = inForce.find((signer) => !signer.mayDo(op.action.kind, op.vmid));
  if (overreaching !== undefined) {
    const message = `${overreaching.keyid} may not sign ${op.action.kind} of guest ${op.vmid}`;
    return refused('forbidden', message);
  }
  return { kind: 'verified', op, signers: inForce };
}

export function isInForce({ notAfterMs }: Signer, nowMs: number): boolean {
  return notAfterMs === null || nowMs <= notAfterMs;
}

interface Try {
  readonly signature: Buffer;
  readonly signer: Signer;
}

function listTries({ signatures }: Envelope, signers: readonly Signer[]): readonly Try[] {
  return signatures.flatMap(({ keyid, signature }) => {
    const candidates = keyid === '' ? signers : signers.filter((each) => each.keyid === keyid);
    return candidates.map((signer) => ({ signature, signer }));
  });
}

/** Each key once, however often it signed: a threshold counts keys (DSSE, multi-signature). */
function findSigners(envelope: Envelope, tries: readonly Try[]): readonly Signer[] {
  const encoded = preAuthEncoding(envelope);
  const found = new Set<Signer>();
  for (const { signature, signer } of tries) {
    if (found.has(signer) || !isSignedBy(encoded, signature, signer.publicKey)) continue;
    found.add(signer);
  }
  return [...found];
}

function explainNone(envelope: Envelope, valid: readonly Signer[]): string {
  if (envelope.signatures.length === 0) return 'it carries no signature';
  const outdated = valid.map(({ keyid }) => keyid).join(', ');
  return outdated === ''
    ? 'no signature is valid under a key of `signers`'
    : `the key is past its not_after: ${outdated}`;
}

function refused(code: Problem['code'], message: string): Verified {
  return { kind: 'refused', problem: { code, message } };
}
