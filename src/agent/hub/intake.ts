/**
 * The one intake for signed ops, whichever way they came. Checked in CONTRACT 7's order: envelope,
 * signatures, audience, time; then the engine's own intake: key, gate, guest, and `received` on
 * disk before the answer (J1). Nothing is written before all of it has passed.
 *
 * The same bytes any number of times are one op.
 */
import type { Journal } from '../../journal/journal.ts';
import type { Clock } from '../../reconcile/clock.ts';
import { assertNever, type Problem } from '../../reconcile/errors.ts';
import { CLOCK_SKEW_MS, type OpRequest, type SubmitResult } from '../../reconcile/intake.ts';
import type { EnvelopeResult } from '../control/ports.ts';
import type { ClockGuard } from './clock-guard.ts';
import { type Envelope, parseEnvelope } from './dsse.ts';
import { LIFETIME_MAX_MS, type SignedOp } from './op-payload.ts';
import type { Signer, SignerRing } from './signers.ts';
import { verifyEnvelope } from './verify.ts';

/**
 * One envelope in, its answer out: `accepted` (durable, not begun), `repeat` (that op, whatever
 * became of it), `refused` with a code. Rejects only where the journal cannot be written any more.
 */
export type AcceptEnvelope = (bytes: Uint8Array) => Promise<EnvelopeResult>;

/** What the journal still knows of keys. */
export interface KeyMemory {
  hasKey(idempKey: string): boolean;
  /** Of ops that expired up to then they are forgotten, whatever the clock says now. */
  forgottenToMs(): number;
  /** Of ops signed up to then they may be lost: `journal repair`. */
  lostToMs(): number;
}

export function keyMemoryOf(journal: Pick<Journal, 'hub' | 'ledger'>): KeyMemory {
  return {
    hasKey: (idempKey) => journal.ledger.findKey(idempKey) !== null,
    forgottenToMs: () => journal.hub().forgottenToMs,
    lostToMs: () => journal.hub().keysLostToMs,
  };
}

export interface IntakeParts {
  /** This agent's id, the audience of its ops. */
  readonly agent: string;
  readonly clock: Pick<Clock, 'now'>;
  readonly clockGuard: ClockGuard;
  readonly signers: SignerRing;
  /** HMAC under the state folder's key (`OpLedger.hashSecret`). */
  readonly hashPayload: (text: string) => string;
  readonly keys: KeyMemory;
  readonly submit: (request: OpRequest) => Promise<SubmitResult>;
}

export function createIntake(parts: IntakeParts): AcceptEnvelope {
  return (bytes) => accept(bytes, parts);
}

/** Envelopes between their first byte and their answer; each may hold `ENVELOPE_MAX_BYTES`. */
export const INTAKE_CONCURRENCY_MAX = 256;

/**
 * For a door that many may knock at: a flood is answered `queue_full` before its signatures cost
 * anything. The hub's stream, one op at a time, does not come through it: no flood turns it away.
 */
export function boundSenders(accept: AcceptEnvelope): AcceptEnvelope {
  let underWay = 0;
  return async (bytes) => {
    if (underWay >= INTAKE_CONCURRENCY_MAX) {
      return refused({ code: 'queue_full', message: 'too many envelopes at once' });
    }
    underWay += 1;
    try {
      return await accept(bytes);
    } finally {
      underWay -= 1;
    }
  };
}

async function accept(bytes: Uint8Array, parts: IntakeParts): Promise<EnvelopeResult> {
  const parsed = parseEnvelope(bytes);
  if (parsed.kind === 'invalid')
    return refused({ code: 'invalid_request', message: parsed.reason });
  const { envelope } = parsed;
  const result = await decide(envelope, parts);
  if (result.kind !== 'refused') return result;
  return { ...result, keyids: envelope.signatures.map(({ keyid }) => keyid) };
}

async function decide(envelope: Envelope, parts: IntakeParts): Promise<EnvelopeResult> {
  const nowMs = parts.clock.now();
  const verified = verifyEnvelope(envelope, { signers: parts.signers.signers(), nowMs });
  if (verified.kind === 'refused') return refused(verified.problem);
  const { op, signers } = verified;
  const problem: (Problem & { readonly hint?: string }) | null =
    checkAudience(op, parts.agent) ??
    parts.clockGuard.objection() ??
    checkTime(op, nowMs, parts.keys.forgottenToMs()) ??
    checkKeyLoss(op, parts.keys);
  if (problem !== null) return refused(problem);
  const payloadHmac = parts.hashPayload(envelope.payload.toString());
  return toResult(await parts.submit(toRequest(op, signers, payloadHmac)));
}

function refused({ code, message, hint }: Problem & { readonly hint?: string }): EnvelopeResult {
  return { kind: 'refused', code, message, ...(hint === undefined ? {} : { hint }) };
}

function toResult(result: SubmitResult): EnvelopeResult {
  switch (result.kind) {
    case 'accepted':
      return { kind: 'accepted', opId: result.record.op_id };
    case 'repeat':
      return result;
    case 'refused':
      return refused(result.problem);
    default:
      return assertNever(result);
  }
}

function checkAudience({ agent }: SignedOp, own: string): Problem | null {
  if (agent === own) return null;
  return {
    code: 'wrong_audience',
    message: `it is for agent ${JSON.stringify(agent)}, not ${own}`,
  };
}

function checkTime(
  { issuedAtMs, expiresAtMs }: SignedOp,
  nowMs: number,
  forgottenToMs: number,
): Problem | null {
  if (expiresAtMs <= issuedAtMs || expiresAtMs - issuedAtMs > LIFETIME_MAX_MS) {
    return { code: 'invalid_request', message: 'its lifetime is not between 0 and 24 hours' };
  }
  if (nowMs > expiresAtMs + CLOCK_SKEW_MS || expiresAtMs <= forgottenToMs) {
    return { code: 'expired', message: `it expired at ${new Date(expiresAtMs).toISOString()}` };
  }
  if (nowMs < issuedAtMs - CLOCK_SKEW_MS) {
    const message = `it is not valid before ${new Date(issuedAtMs).toISOString()}`;
    return { code: 'invalid_request', message };
  }
  return null;
}

/** It may have been done, and the record of it been lost: a repeat must not do it again. */
function checkKeyLoss({ idempKey, issuedAtMs }: SignedOp, keys: KeyMemory): Problem | null {
  const lostToMs = keys.lostToMs();
  if (issuedAtMs > lostToMs || keys.hasKey(idempKey)) return null;
  const message =
    `it was signed before ${new Date(lostToMs).toISOString()}, and the journal has lost records ` +
    'of then: it may have been done. Look at the guest; sign it anew if it is still wanted';
  return { code: 'expired', message };
}

function toRequest(op: SignedOp, signers: readonly Signer[], payloadHmac: string): OpRequest {
  const { idempKey, expiresAtMs, vmid, action, correlationId, holdMs, precondition } = op;
  return {
    origin: 'hub',
    vmid,
    action,
    ...(correlationId === undefined ? {} : { correlationId }),
    ...(holdMs === undefined ? {} : { holdMs }),
    ...(precondition === undefined ? {} : { precondition }),
    signed: {
      idempKey,
      payloadHmac,
      expiresAtMs,
      signers: signers.map(({ keyid, keySha256 }) => ({ keyid, key_sha256: keySha256 })),
    },
  };
}
