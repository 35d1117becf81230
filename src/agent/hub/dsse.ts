/**
 * DSSE v1.0: the envelope as JSON, the bytes that are signed (PAE), Ed25519. Knows nothing of ops.
 *
 * Base64 is the standard alphabet with padding and no spare bits: one text for the same bytes, so
 * that an envelope has one form. Unknown fields of the envelope are ignored, as DSSE demands; they
 * are not signed and nobody reads them.
 */
import { type KeyObject, sign, verify } from 'node:crypto';
import { z } from 'zod';
import { parseStrictJson } from './strict-json.ts';

/** Of the envelope as sent: the largest config value there is (64 KiB of sshkeys), as base64. */
export const ENVELOPE_MAX_BYTES = 128 * 1024;
/** More signers than anybody asks for; each costs a verification. */
export const SIGNATURES_MAX = 16;
const ENVELOPE_MAX_DEPTH = 8;
const SIGNATURE_BYTES = 64;

export interface Envelope {
  readonly payloadType: string;
  /** Exactly the bytes that were signed. */
  readonly payload: Buffer;
  readonly signatures: readonly EnvelopeSignature[];
}

export interface EnvelopeSignature {
  /** Chooses which keys are tried, and proves nothing; empty: all. */
  readonly keyid: string;
  readonly signature: Buffer;
}

export interface EnvelopeJson {
  readonly payload: string;
  readonly payloadType: string;
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[];
}

export type ParsedEnvelope =
  | { readonly kind: 'envelope'; readonly envelope: Envelope }
  | { readonly kind: 'invalid'; readonly reason: string };

const envelopeSchema = z.object({
  payload: z.string(),
  payloadType: z.string().max(256),
  signatures: z
    .array(z.object({ keyid: z.string().max(128).default(''), sig: z.string() }))
    .max(SIGNATURES_MAX),
});

/** Never throws, whatever the bytes. */
export function parseEnvelope(bytes: Uint8Array): ParsedEnvelope {
  if (bytes.length > ENVELOPE_MAX_BYTES) {
    return invalid(`it is larger than ${ENVELOPE_MAX_BYTES} bytes`);
  }
  const json = parseStrictJson(bytes, { maxDepth: ENVELOPE_MAX_DEPTH });
  if (json.kind === 'invalid') return invalid(json.reason);
  const parsed = envelopeSchema.safeParse(json.value);
  if (!parsed.success) {
    const where = parsed.error.issues[0]?.path.join('.') ?? '';
    return invalid(where === '' ? 'it is not an object' : `${where} is missing or not valid`);
  }
  const payload = decodeBase64(parsed.data.payload);
  if (payload === null) return invalid('payload is not canonical base64');
  const signatures: EnvelopeSignature[] = [];
  for (const { keyid, sig } of parsed.data.signatures) {
    const signature = decodeBase64(sig);
    if (signature === null) return invalid('a signature is not canonical base64');
    signatures.push({ keyid, signature });
  }
  return {
    kind: 'envelope',
    envelope: { payloadType: parsed.data.payloadType, payload, signatures },
  };
}

function invalid(reason: string): ParsedEnvelope {
  return { kind: 'invalid', reason: `not a DSSE envelope: ${reason}` };
}

/** Null unless it is what encoding those bytes gives. */
function decodeBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}

/** What is signed: type and body with their lengths, so that no two pairs give the same bytes. */
export function preAuthEncoding({
  payloadType,
  payload,
}: Pick<Envelope, 'payloadType' | 'payload'>): Buffer {
  const typeBytes = Buffer.byteLength(payloadType);
  const head = `DSSEv1 ${typeBytes} ${payloadType} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

/** `encoded`: the PAE. */
export function isSignedBy(encoded: Buffer, signature: Buffer, publicKey: KeyObject): boolean {
  return signature.length === SIGNATURE_BYTES && verify(null, encoded, publicKey, signature);
}

/** The envelope with one more signature; a key that has signed it already signs it anew. */
export function addSignature(
  envelope: Envelope,
  { keyid, privateKey }: { readonly keyid: string; readonly privateKey: KeyObject },
): Envelope {
  const signature = sign(null, preAuthEncoding(envelope), privateKey);
  const others = envelope.signatures.filter((each) => !each.signature.equals(signature));
  return { ...envelope, signatures: [...others, { keyid, signature }] };
}

/** The envelope as it is sent: JSON of one line. */
export function envelopeText(envelope: Envelope): string {
  return JSON.stringify(envelopeJson(envelope));
}

export function envelopeJson({ payloadType, payload, signatures }: Envelope): EnvelopeJson {
  return {
    payload: payload.toString('base64'),
    payloadType,
    signatures: signatures.map(({ keyid, signature }) => ({
      keyid,
      sig: signature.toString('base64'),
    })),
  };
}
