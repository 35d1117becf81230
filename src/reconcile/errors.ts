/**
 * The stable error codes and the one exception of the project.
 *
 * Expected results are values (`Problem`); a `ReconcilerError` means "cannot go on with this".
 * Codes are never renamed or reused: they stand in the journal, in JSON output, in metrics
 * labels and in docs/ERRORS.md.
 */

export const ERROR_CODES = [
  'invalid_request',
  'not_found',
  'ambiguous_ref',
  'conflict',
  'unauthorized',
  'forbidden',
  'gate_denied',
  'signature_invalid',
  'wrong_audience',
  'expired',
  'idemp_key_reused',
  'queue_full',
  'cancelled',
  'guest_locked',
  'guest_busy',
  'guest_moved',
  'is_template',
  'digest_stale',
  'task_failed',
  'task_lost',
  'not_converged',
  'timeout',
  'interrupted',
  'service_unavailable',
  'tls_untrusted',
  'desired_invalid',
  'config_invalid',
  'journal_locked',
  'journal_corrupt',
  'journal_poisoned',
  'internal_error',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** What went wrong, as a value: `code` for machines, `message` for people (PVE's words kept). */
export interface Problem {
  readonly code: ErrorCode;
  readonly message: string;
}

/**
 * - `retry`: the same may work later.
 * - `reject`: this input or op will not work; others do.
 * - `halt`: the process must end; going on could lose or repeat an op.
 */
export type Disposition = 'retry' | 'reject' | 'halt';

export interface ErrorDetails {
  readonly disposition?: Disposition;
  /** The operator's next step, one sentence. */
  readonly hint?: string;
  /** Where and what, safe to print: never a secret. */
  readonly context?: Readonly<Record<string, string | number>>;
  readonly cause?: unknown;
}

/** The base of every exception we throw; its message starts with the code. */
export class ReconcilerError extends Error {
  readonly code: ErrorCode;
  readonly disposition: Disposition;
  readonly hint: string | undefined;
  readonly context: Readonly<Record<string, string | number>>;
  /** The message without the code in front. */
  readonly detail: string;

  constructor(code: ErrorCode, detail: string, details: ErrorDetails = {}) {
    super(`${code}: ${detail}`, 'cause' in details ? { cause: details.cause } : undefined);
    this.name = 'ReconcilerError';
    this.code = code;
    this.detail = detail;
    this.disposition = details.disposition ?? 'reject';
    this.hint = details.hint;
    this.context = details.context ?? {};
  }
}

/** The value form of anything thrown; what nobody foresaw is `internal_error`. */
export function toProblem(error: unknown): Problem {
  if (error instanceof ReconcilerError) return { code: error.code, message: error.detail };
  return {
    code: 'internal_error',
    message: error instanceof Error ? error.message : String(error),
  };
}

/** What other code vouches for and no type can tell. Where it is missing nothing can go on. */
export function requirePresent<Value>(value: Value | null, what: string): Value {
  if (value !== null) return value;
  throw new ReconcilerError('internal_error', `${what} is missing`, { disposition: 'halt' });
}

/** Ends a switch over a union: a new member fails the type check here. */
export function assertNever(value: never): never {
  throw new ReconcilerError('internal_error', `unexpected value ${JSON.stringify(value)}`, {
    disposition: 'halt',
  });
}
