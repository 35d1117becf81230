/**
 * What PVE's errors mean: one of our codes for each, with PVE's words kept, and whether a request
 * that got it may have had an effect all the same. The texts are PVE's own, as recorded
 * (PVE-FACTS 2, 5, 7, 8, 12, 15, 24); an unknown one is `task_failed`, never `internal_error`, and
 * to a look `service_unavailable`.
 */
import type { ErrorCode, Problem } from '../reconcile/errors.ts';
import { isWrite, type PveRequest } from './request.ts';
import type { Exchange, NoResponse, Response } from './transport.ts';

/** A request that did not get the answer it asked for. */
export interface Failure {
  readonly kind: 'failure';
  readonly problem: Problem;
  /** `none`: proven not to have changed anything. */
  readonly effect: 'none' | 'maybe';
  /** Null when there was no answer. */
  readonly status: number | null;
  /** PVE's complaint by parameter (400). */
  readonly errors: Readonly<Record<string, string>>;
}

const WORDS_MAX_CHARS = 1_000;

interface Text {
  readonly pattern: RegExp;
  readonly code: ErrorCode;
  /** Said before anything was changed. */
  readonly isEarly: boolean;
}

const early = (code: ErrorCode, pattern: RegExp): Text => ({ pattern, code, isEarly: true });
const late = (code: ErrorCode, pattern: RegExp): Text => ({ pattern, code, isEarly: false });

/** Texts of answers with status 500 and of exit statuses; the first that fits counts. */
const TEXTS: readonly Text[] = [
  early('digest_stale', /^checksum mismatch \(file change/),
  early('digest_stale', /^detected modified configuration - file changed/),
  early('guest_locked', /^(?:VM|CT) is locked \(/),
  early('guest_busy', /^can't lock file '.*' - got timeout/),
  early('conflict', /^(?:VM|CT) \d+ (?:already|not) running$/),
  early('not_found', /^Configuration file '.*' does not exist/),
  early('not_found', /^unable to find configuration file for (?:VM|CT) \d+/),
  early('not_found', /^no such (?:resource|VM|CT|task)\b/),
  early('not_found', /^hostname lookup '.*' failed/),
  early('is_template', /if it's a template$/),
  early('forbidden', /^only root can /),
  early('forbidden', /^Permission check failed/),
  early('service_unavailable', /^cluster not ready - no quorum/),
  early('conflict', /in error state, must be disabled and fixed first/),
  early('conflict', /not HA managed!$|HA managed VM|used in HA resources|already defined$/),
  early('conflict', /^cannot index groups: ha groups have been migrated/),
  early('invalid_request', /^no options specified/),
  early('invalid_request', /cannot be used together with/),
  early('invalid_request', /^unable to parse (?:value of|worker upid)/),
  early('invalid_request', /^unable to modify read-only option/),
  early('invalid_request', /expected, at character offset \d+/),
  late('invalid_request', /validation error$|^unable to parse volume|^invalid bootorder/),
  late('task_lost', /^got no worker upid/),
  late('timeout', /got timeout$|^container did not stop$/),
  late('invalid_request', /' (?:does not exist|not found)\b/),
];

const STATUS_CODES: Readonly<Record<number, ErrorCode>> = {
  400: 'invalid_request',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  405: 'invalid_request',
  413: 'invalid_request',
  501: 'invalid_request',
  506: 'invalid_request',
};

/**
 * What can be wrong with a look itself. It runs no task and waits for no guest: whatever else it is
 * answered is trouble of the node's own.
 */
const LOOK_CODES: ReadonlySet<ErrorCode> = new Set([
  'unauthorized',
  'forbidden',
  'not_found',
  'tls_untrusted',
]);

function codeFor(request: PveRequest, code: ErrorCode): ErrorCode {
  return isWrite(request) || LOOK_CODES.has(code) ? code : 'service_unavailable';
}

/** The code of a text that PVE wrote into the answer to a request. */
export function classifyText(text: string): ErrorCode {
  return findText(text)?.code ?? 'task_failed';
}

/** The code of a failed task's exit status: what kept it from the guest, or `task_failed`. */
export function classifyExit(exitStatus: string): ErrorCode {
  const known = findText(exitStatus);
  const isTelling = known?.isEarly === true || known?.code === 'timeout';
  return isTelling ? known.code : 'task_failed';
}

function findText(said: string): Text | undefined {
  const text = said.slice(0, WORDS_MAX_CHARS);
  return TEXTS.find((known) => known.pattern.test(text));
}

/** A failure for an answer that is no success; null for a success. `body`: what it parsed to. */
export function readRefusal(
  request: PveRequest,
  response: Response,
  body: Readonly<Record<string, unknown>> | null,
): Failure | null {
  const said = readSaid(response, body);
  if (response.status >= 200 && response.status < 300 && !said.isError) return null;
  const { status } = response;
  const words = joinWords(response.reason, said);
  const known = findText(said.message === '' ? response.reason : said.message);
  const code = status === 500 || status < 300 ? (known?.code ?? 'task_failed') : statusCode(status);
  const isProven = status === 500 ? known?.isEarly === true : status >= 300 && status < 500;
  const isRefusedByProxy = status === 501 || status === 506;
  return {
    kind: 'failure',
    problem: {
      code: codeFor(request, code),
      message: `${words} [${status} ${request.method} ${request.path}]`,
    },
    effect: isProven || isRefusedByProxy ? 'none' : 'maybe',
    status,
    errors: said.errors,
  };
}

/**
 * 595 is "no effect" for the request that got it only if pveproxy tried once; it says nothing of
 * that, so it counts as maybe done like 596 (PVE-FACTS 5).
 */
function statusCode(status: number): ErrorCode {
  const code = STATUS_CODES[status];
  if (code !== undefined) return code;
  return status === 596 || status === 504 ? 'timeout' : 'service_unavailable';
}

/** A failure for a request without a whole answer. */
export function readNoResponse(request: PveRequest, exchange: NoResponse): Failure {
  const where = `[${request.method} ${request.path}]`;
  return {
    kind: 'failure',
    problem: {
      code: codeFor(request, noResponseCode(exchange)),
      message: `${exchange.message} ${where}`,
    },
    effect: exchange.wasSent ? 'maybe' : 'none',
    status: null,
    errors: {},
  };
}

function noResponseCode({ cause }: NoResponse): ErrorCode {
  if (cause === 'untrusted') return 'tls_untrusted';
  return cause === 'timeout' ? 'timeout' : 'service_unavailable';
}

/** Does it say that the node is down, and not just that this request was bad? */
export function isUnreachable(exchange: Exchange): boolean {
  if (exchange.kind === 'no_response') return exchange.cause !== 'aborted';
  return exchange.status >= 595 || (exchange.status >= 502 && exchange.status <= 504);
}

interface Said {
  readonly message: string;
  readonly errors: Readonly<Record<string, string>>;
  /** The body itself is one of an error. */
  readonly isError: boolean;
}

function readSaid(response: Response, body: Readonly<Record<string, unknown>> | null): Said {
  if (body === null) {
    const isPlain = response.status >= 400 && !/html/i.test(response.contentType);
    return { message: isPlain ? response.text.trim() : '', errors: {}, isError: false };
  }
  const message = typeof body['message'] === 'string' ? body['message'].trim() : '';
  const errors: Record<string, string> = {};
  if (typeof body['errors'] === 'object' && body['errors'] !== null) {
    for (const [name, text] of Object.entries(body['errors'])) errors[name] = String(text).trim();
  }
  const hasData = body['data'] !== null && body['data'] !== undefined;
  const isError = Object.keys(errors).length > 0 || (message !== '' && !hasData);
  return { message, errors, isError };
}

/** Reason phrase, message and errors, each once, on one line. */
function joinWords(reason: string, said: Said): string {
  const words = said.message === '' || said.message === reason ? [reason] : [reason, said.message];
  for (const [name, text] of Object.entries(said.errors)) words.push(`${name}: ${text}`);
  // Cut first: what takes the line ends out is slow on a megabyte of blanks.
  const line = shorten(words.filter((word) => word !== '').join('; '), WORDS_MAX_CHARS);
  return (
    line.replace(/\s+/g, (blank) => (blank.includes('\n') ? '; ' : blank)) || 'no reason given'
  );
}

export function shorten(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max)}…`;
}
