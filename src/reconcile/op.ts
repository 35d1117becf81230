/**
 * Ops and their records. A record has the shape it has on disk (snake_case, CONTRACT 5): the
 * journal adds `seq`, `at` and `sum`. Parameters have the shape a signed op has (CONTRACT 7).
 */
import type { ErrorCode } from './errors.ts';
import type { GuestKind, Power } from './guest.ts';
import type { CorrelationId, OpId, Upid, Vmid } from './ids.ts';

export const OP_KINDS = ['start', 'stop', 'restart', 'set_config'] as const;
export type OpKind = (typeof OP_KINDS)[number];

/** The kinds of a `SentAction`. */
export const SENT_KINDS = ['start', 'stop', 'set_config'] as const;

export const OP_ORIGINS = ['reconcile', 'hub', 'operator'] as const;
export type OpOrigin = (typeof OP_ORIGINS)[number];

export const OP_STATES = ['received', 'started', 'task_running', 'succeeded', 'failed'] as const;
export type OpState = (typeof OP_STATES)[number];

export type StartParams = Readonly<Record<string, never>>;

/** `mode: shutdown` asks the guest; with `force` PVE cuts the power when time is up. */
export interface StopParams {
  readonly mode: 'shutdown' | 'stop';
  readonly timeout_s: number;
  readonly force: boolean;
}

export interface SetConfigParams {
  /** Key to value, both as PVE's text. Never a write-only key in a record. */
  readonly set: Readonly<Record<string, string>>;
  readonly delete: readonly string[];
}

/** What an op is to do, with its parameters complete. */
export type Action =
  | { readonly kind: 'start'; readonly params: StartParams }
  | { readonly kind: 'stop'; readonly params: StopParams }
  | { readonly kind: 'restart'; readonly params: StopParams }
  | { readonly kind: 'set_config'; readonly params: SetConfigParams };

export type RestartAction = Extract<Action, { readonly kind: 'restart' }>;
/** What PVE is asked for in one request; a restart is run as its two parts. */
export type SentAction = Exclude<Action, RestartAction>;

/** Graceful, a minute, never forced: what a stop is when nobody says otherwise. */
export const DEFAULT_STOP: StopParams = { mode: 'shutdown', timeout_s: 60, force: false };

/**
 * - `benign`: can be put back without anybody noticing much (start, graceful stop, most config).
 * - `disruptive`: cuts a running guest short (hard stop, restart).
 * - `irreversible`: allocates, detaches or destroys, or cannot be set back.
 */
export type Reversibility = 'benign' | 'disruptive' | 'irreversible';

/** What was there before the request was sent: recovery compares the guest with it. */
export interface Before {
  readonly power: Power;
  /** Ms since 1970; null while stopped. */
  readonly booted_at_ms: number | null;
  /** Its process then, where it ran: a clock that steps makes no other boot of it. */
  readonly pid?: number;
  /** For set_config. */
  readonly digest?: string;
  /** Old values of the keys to be changed; null: was not set. */
  readonly values?: Readonly<Record<string, string | null>>;
  /** The newest UPID of ours known for this guest. */
  readonly last_upid: Upid | null;
}

/** What was seen after the task, or instead of it. */
export interface Observed {
  readonly power?: Power;
  readonly ha_state?: string | null;
  readonly digest?: string;
  /** Keys PVE left pending: they need a restart. */
  readonly pending?: readonly string[];
  /** No answer came and no task was found, where no error says so: it may have begun after its end. */
  readonly unanswered?: true;
  /** Why it counts as it does, where the task alone does not say. */
  readonly note?: string;
  /** PVE's own warning lines of a task that ended with WARNINGS. */
  readonly warnings?: readonly string[];
  /** First and last lines of a failed task's log. */
  readonly log?: readonly string[];
}

/** Who signed, where somebody did. */
export interface OpSigner {
  readonly keyid: string;
  /** SHA-256 of the public key (DER), hex. */
  readonly key_sha256: string;
}

/** What every record of an op carries. */
export interface OpRecordDraft {
  readonly op_id: OpId;
  readonly vmid: Vmid;
  /** qemu or lxc: the guest's kind when the op was admitted. */
  readonly guest_kind: GuestKind;
  readonly kind: OpKind;
  readonly state: OpState;
  /** From 1; 0 in `received`. */
  readonly attempt: number;
  readonly origin: OpOrigin;
  readonly params?: Action['params'];
  readonly upid?: Upid;
  readonly idemp_key?: string;
  /** HMAC of the signed payload, hex; with idemp_key. */
  readonly payload_hmac?: string;
  /** When the op may no longer begin (hub: as signed; operator: ten minutes), ms since 1970. */
  readonly expires_at_ms?: number;
  readonly correlation_id?: CorrelationId;
  readonly parent_op_id?: OpId;
  /** As claimed by the client, never proven. */
  readonly actor?: string;
  readonly signers?: readonly OpSigner[];
  readonly before?: Before;
  readonly exit_status?: string;
  readonly observed?: Observed;
  readonly error?: { readonly code: ErrorCode; readonly message: string };
  /** In `received`: how long reconciling is to leave the guest alone after it, ms. */
  readonly hold_ms?: number;
  /** What a signed op requires of the guest, checked again at its turn. */
  readonly precondition?: { readonly digest?: string; readonly power?: Power };
}

/** A record as it stands in the journal. */
export interface OpRecord extends OpRecordDraft {
  readonly type: 'op';
  readonly seq: number;
  /** RFC 3339, UTC, milliseconds. */
  readonly at: string;
}

export function isTerminal(state: OpState): state is 'succeeded' | 'failed' {
  return state === 'succeeded' || state === 'failed';
}
