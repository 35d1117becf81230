/**
 * The reversibility gate: what may run, by what it does and by who asks. Pure.
 *
 * Unsigned work (desired state, an operator at the socket) passes up to its policy. A signature
 * passes benign and disruptive ops; what cannot be undone takes several, by distinct keys.
 * Desired state never passes the irreversible, signed or not.
 */
import { effectiveValue } from './completion.ts';
import { assertNever, type Problem } from './errors.ts';
import type { GuestConfig, GuestKind } from './guest.ts';
import type { Action, OpOrigin, Reversibility, SetConfigParams } from './op.ts';
import type { EnginePolicy, ValueSemantics } from './ports.ts';

const RANK: Readonly<Record<Reversibility | 'none', number>> = {
  none: -1,
  benign: 0,
  disruptive: 1,
  irreversible: 2,
};

export type GateVerdict =
  | { readonly kind: 'pass' }
  | { readonly kind: 'denied'; readonly needs: string };

export interface GateRequest {
  readonly origin: OpOrigin;
  readonly reversibility: Reversibility;
  /** Distinct keys whose signature is valid and permitted. */
  readonly signatures: number;
}

export type GatePolicy = Pick<EnginePolicy, 'unsigned' | 'operator' | 'irreversibleSignatures'>;

export function judge(request: GateRequest, policy: GatePolicy): GateVerdict {
  const needed = signaturesNeeded(request.reversibility, policy);
  const isEnough = isPermitted(request, policy, needed);
  if (isEnough) return { kind: 'pass' };
  const plural = needed === 1 ? 'signature' : 'signatures by different keys';
  const setting = settingFor(request);
  const other = setting === null ? '' : `\`${setting}\`, or `;
  return {
    kind: 'denied',
    needs: `it is ${request.reversibility} and takes ${other}a signed op with ${needed} ${plural}`,
  };
}

/** The policy under which it would pass unsigned; null: there is none. */
function settingFor({ origin, reversibility }: GateRequest): string | null {
  if (origin === 'hub' || reversibility === 'irreversible') return null;
  return `policy.${origin === 'reconcile' ? 'unsigned' : 'operator'}: ${reversibility}`;
}

function isPermitted(request: GateRequest, policy: GatePolicy, needed: number): boolean {
  switch (request.origin) {
    case 'reconcile':
      return RANK[request.reversibility] <= RANK[policy.unsigned];
    case 'operator':
      return RANK[request.reversibility] <= RANK[policy.operator];
    case 'hub':
      return request.signatures >= needed;
    default:
      return assertNever(request.origin);
  }
}

export function signaturesNeeded(
  reversibility: Reversibility,
  policy: Pick<EnginePolicy, 'irreversibleSignatures'>,
): number {
  return reversibility === 'irreversible' ? policy.irreversibleSignatures : 1;
}

/** Why an action may not run, or null; with `config` null by what is certain whatever it is. */
export function refuseByGate(
  action: Action,
  asked: {
    readonly origin: OpOrigin;
    readonly signatures: number;
    readonly guestKind: GuestKind;
    readonly config: GuestConfig | null;
  },
  rules: { readonly semantics: Pick<ValueSemantics, 'classify'>; readonly policy: GatePolicy },
): Problem | null {
  const { origin, signatures, guestKind, config } = asked;
  const reversibility = classifyAction(action, guestKind, rules.semantics, config);
  const verdict = judge({ origin, reversibility, signatures }, rules.policy);
  if (verdict.kind === 'pass') return null;
  return { code: 'gate_denied', message: `${action.kind}: ${verdict.needs}` };
}

/** The class of an action; with `config` null the mildest it can be, whatever the guest's is. */
export function classifyAction(
  action: Action,
  guestKind: GuestKind,
  semantics: Pick<ValueSemantics, 'classify'>,
  config: GuestConfig | null,
): Reversibility {
  switch (action.kind) {
    case 'start':
      return 'benign';
    case 'stop':
      return action.params.mode === 'stop' || action.params.force ? 'disruptive' : 'benign';
    case 'restart':
      return 'disruptive';
    case 'set_config':
      return classifyChanges(action.params, guestKind, semantics, config);
    default:
      return assertNever(action);
  }
}

function classifyChanges(
  params: SetConfigParams,
  kind: GuestKind,
  semantics: Pick<ValueSemantics, 'classify'>,
  config: GuestConfig | null,
): Reversibility {
  let worst: Reversibility = 'benign';
  const consider = (key: string, to: string | null): void => {
    // A write takes away what is pending, too: a disk that waits for the next start is a disk.
    const before =
      config === null
        ? [undefined]
        : [config.current.get(key) ?? null, effectiveValue(config, key)];
    for (const from of before) worst = worse(worst, semantics.classify({ kind, key, from, to }));
  };
  for (const [key, value] of Object.entries(params.set)) consider(key, value);
  for (const key of params.delete) consider(key, null);
  return worst;
}

export function worse(a: Reversibility, b: Reversibility): Reversibility {
  return RANK[a] >= RANK[b] ? a : b;
}
