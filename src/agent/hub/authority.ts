/**
 * May a signed op that waits still run? Asked at every turn of its lane: a key may have been taken
 * out, or have come to its `not_after`, since the op was received. The same gate as at the intake,
 * with the signers that are left.
 */
import type { Clock } from '../../reconcile/clock.ts';
import type { Problem } from '../../reconcile/errors.ts';
import { type GatePolicy, refuseByGate } from '../../reconcile/gate.ts';
import type { OpRecord, OpSigner } from '../../reconcile/op.ts';
import { toAction } from '../../reconcile/op-shape.ts';
import type { Authority, ValueSemantics } from '../../reconcile/ports.ts';
import type { ClockGuard } from './clock-guard.ts';
import type { SignerRing } from './signers.ts';
import { isInForce } from './verify.ts';

export interface AuthorityParts {
  readonly clock: Pick<Clock, 'now'>;
  readonly clockGuard: ClockGuard;
  readonly signers: SignerRing;
  readonly semantics: Pick<ValueSemantics, 'classify'>;
  readonly policy: GatePolicy;
}

export function createAuthority(parts: AuthorityParts): Authority {
  return {
    objection({ first }) {
      // An operator's op was judged when it was taken; its policy is fixed while the agent runs.
      if (first.origin !== 'hub') return null;
      const clock = parts.clockGuard.objection();
      if (clock === null) return checkSigners(first, parts);
      return { code: clock.code, message: clock.message };
    },
    signaturesLeft: ({ first }) => countSignatures(first, parts),
  };
}

function checkSigners(first: OpRecord, parts: AuthorityParts): Problem | null {
  const action = toAction(first.kind, first.params);
  const signatures = countSignatures(first, parts);
  const asked = { origin: 'hub', signatures, guestKind: first.guest_kind, config: null } as const;
  const refused = refuseByGate(action, asked, parts);
  if (refused === null) return null;
  const { code, message } = refused;
  return { code, message: `${message}; of its signers ${signatures} may still sign it` };
}

function countSignatures(first: OpRecord, parts: AuthorityParts): number {
  const left = (first.signers ?? []).filter((signer) => isStillTrusted(signer, first, parts));
  return new Set(left.map(({ key_sha256 }) => key_sha256)).size;
}

function isStillTrusted(
  { key_sha256: sha256 }: OpSigner,
  { kind, vmid }: OpRecord,
  { clock, signers }: AuthorityParts,
): boolean {
  const signer = signers.signers().find(({ keySha256 }) => keySha256 === sha256);
  return signer !== undefined && signer.mayDo(kind, vmid) && isInForce(signer, clock.now());
}
