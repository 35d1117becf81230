/**
 * Failures as RFC 9457 problem documents: the code and the next step are those of docs/ERRORS.md,
 * the status is what HTTP clients act on.
 */
import { type ErrorCode, ReconcilerError } from '../../reconcile/errors.ts';
import { failureOf } from '../command-line/command.ts';
import { ERROR_TABLE } from '../errors.ts';
import type { ProblemDocument } from './documents.ts';

export const PROBLEM_TYPE = 'application/problem+json';

const STATUS: Readonly<Record<ErrorCode, number>> = {
  invalid_request: 400,
  not_found: 404,
  ambiguous_ref: 409,
  conflict: 409,
  unauthorized: 401,
  forbidden: 403,
  gate_denied: 403,
  signature_invalid: 403,
  wrong_audience: 403,
  expired: 403,
  // As the Idempotency-Key draft has it: the key is known, the content is another.
  idemp_key_reused: 422,
  queue_full: 429,
  cancelled: 409,
  guest_locked: 409,
  guest_busy: 409,
  guest_moved: 409,
  is_template: 409,
  digest_stale: 409,
  task_failed: 502,
  task_lost: 502,
  not_converged: 502,
  timeout: 504,
  interrupted: 503,
  service_unavailable: 503,
  tls_untrusted: 502,
  desired_invalid: 422,
  config_invalid: 500,
  journal_locked: 503,
  journal_corrupt: 500,
  journal_poisoned: 500,
  internal_error: 500,
};

export function statusOf(code: ErrorCode): number {
  return STATUS[code];
}

/** `status` where HTTP has a closer word than the code's own (413, 421, …). */
export function problemOf(
  { code, message, hint }: { code: ErrorCode; message: string; hint?: string | undefined },
  ids: Readonly<Record<string, string | number>>,
  status = STATUS[code],
): ProblemDocument {
  return {
    type: `urn:pve-reconciler:error:${code}`,
    title: code,
    status,
    detail: message,
    code,
    hint: hint ?? ERROR_TABLE[code].hint,
    ...ids,
  };
}

/** Anything thrown. What nobody foresaw keeps its message and stack to the log. */
export function problemOfError(error: unknown, requestId: string): ProblemDocument {
  if (!(error instanceof ReconcilerError)) {
    const message = 'the agent could not answer; its log says why';
    return problemOf({ code: 'internal_error', message }, { request_id: requestId });
  }
  const { code, message, hint, ids } = failureOf(error);
  return problemOf({ code, message, hint }, { request_id: requestId, ...ids });
}
