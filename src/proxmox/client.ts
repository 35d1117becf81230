/**
 * The client: one request to the API, with all that surrounds it. Two at a time, a breaker in
 * front, one more try where nothing can have happened, and every outcome a value: what PVE
 * answered, or why there is no answer and whether the request may have had an effect.
 *
 * No message that leaves here holds the token or a password.
 */
import type { Clock, Random } from '../reconcile/clock.ts';
import { ReconcilerError } from '../reconcile/errors.ts';
import { Breaker } from './breaker.ts';
import { type Failure, isUnreachable, readNoResponse, readRefusal, shorten } from './errors.ts';
import { isWrite, type PveRequest } from './request.ts';
import { RequestSlots } from './request-slots.ts';
import type { PveToken } from './token.ts';
import {
  type Exchange,
  type Limits,
  MAX_CONNECTIONS,
  type Response,
  Transport,
} from './transport.ts';
import type { TlsTrust } from './trust.ts';

/** A first try may meet a connection that PVE was just closing. */
const RETRY_PAUSE_MS = { least: 50, spread: 100 };
/** What PVE takes but never gives back; it must not come back in a complaint either. */
const PASSWORD_KEYS = ['cipassword', 'password'];
const BODY_SHOWN_CHARS = 60;

interface Answer {
  readonly kind: 'answer';
  readonly data: unknown;
  /** Of paged lists: how many there are in all. */
  readonly total: unknown;
}

export type Reply = Answer | Failure;

/** One request that was sent, for metrics and logs. */
export interface RequestInfo {
  readonly method: string;
  readonly route: string;
  /** Null: no answer. */
  readonly status: number | null;
  readonly durationMs: number;
}

export interface ClientOptions {
  readonly url: string;
  readonly token: PveToken;
  readonly tls: TlsTrust;
  readonly clock: Clock;
  readonly random: Random;
  readonly onRequest?: (info: RequestInfo) => void;
  readonly limits?: Limits;
}

export class PveClient {
  readonly #transport: Transport;
  readonly #slots = new RequestSlots(MAX_CONNECTIONS);
  readonly #breaker: Breaker;
  readonly #options: ClientOptions;
  #isClosed = false;

  /** Throws `config_invalid` for a URL, CA or fingerprint that cannot be used. */
  constructor(options: ClientOptions) {
    this.#options = options;
    this.#breaker = new Breaker(options.clock, options.random);
    this.#transport = new Transport({
      origin: parseOrigin(options.url),
      trust: options.tls,
      authorization: () => options.token.authorization(),
      limits: options.limits,
    });
  }

  /**
   * `began` is called when its turn has come, before a byte is sent. Rejects only with the signal's
   * reason, when aborted.
   */
  async request(request: PveRequest, signal: AbortSignal, began?: () => void): Promise<Reply> {
    const first = await this.#try(request, signal, began);
    if (!first.isRepeatable || this.#isClosed) return first.reply;
    const { clock, random } = this.#options;
    await clock.sleep(RETRY_PAUSE_MS.least + RETRY_PAUSE_MS.spread * random.next(), signal);
    return (await this.#try(request, signal)).reply;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#transport.close();
  }

  async #try(
    request: PveRequest,
    signal: AbortSignal,
    began?: () => void,
  ): Promise<{ readonly reply: Reply; readonly isRepeatable: boolean }> {
    return this.#slots.run(isWrite(request) ? 'write' : 'read', signal, async () => {
      began?.();
      const refused = this.#breaker.admit();
      if (refused !== null) {
        const failure: Failure = {
          kind: 'failure',
          problem: refused,
          effect: 'none',
          status: null,
          errors: {},
        };
        return { reply: failure, isRepeatable: false };
      }
      const exchange = await this.#exchange(request, signal);
      const seen = readReply(request, exchange);
      const reply =
        seen.kind === 'answer' ? seen : readReply(request, this.#redact(request, exchange));
      this.#report(exchange, reply);
      return { reply, isRepeatable: isRepeatable(request, exchange) };
    });
  }

  async #exchange(request: PveRequest, signal: AbortSignal): Promise<Exchange> {
    const { clock, onRequest } = this.#options;
    const startedMs = clock.monotonicMs();
    const exchange = await this.#transport.exchange(request, signal);
    if (exchange.kind === 'response' || exchange.wasSent) {
      onRequest?.({
        method: request.method,
        route: request.route,
        status: exchange.kind === 'response' ? exchange.status : null,
        durationMs: clock.monotonicMs() - startedMs,
      });
    }
    if (signal.aborted) {
      this.#breaker.abandoned();
      throw signal.reason;
    }
    return exchange;
  }

  #report(exchange: Exchange, reply: Reply): void {
    if (reply.kind === 'failure' && reply.status === 401) {
      this.#breaker.unauthorized(reply.problem);
    } else if (reply.kind === 'failure' && isUnreachable(exchange)) {
      this.#breaker.unreachable(reply.problem);
    } else {
      this.#breaker.answered();
    }
  }

  /** Before anything is made of it: a secret cut short would not be found any more. */
  #redact(request: PveRequest, exchange: Exchange): Exchange {
    const hide = (text: string): string => {
      let safe = this.#options.token.redact(text);
      for (const key of PASSWORD_KEYS) {
        const password = request.body?.[key];
        if (typeof password === 'string' && password !== '') {
          safe = safe.replaceAll(password, '***');
        }
      }
      return safe;
    };
    if (exchange.kind === 'no_response') return { ...exchange, message: hide(exchange.message) };
    return { ...exchange, reason: hide(exchange.reason), text: hide(exchange.text) };
  }
}

/** A read may always be asked again; a write only where it never left. */
function isRepeatable(request: PveRequest, exchange: Exchange): boolean {
  if (exchange.kind === 'response') return false;
  if (exchange.cause === 'cut') return !isWrite(request) || !exchange.wasSent;
  return exchange.cause === 'connect';
}

function readReply(request: PveRequest, exchange: Exchange): Reply {
  if (exchange.kind === 'no_response') return readNoResponse(request, exchange);
  const body = parseObject(exchange.text);
  const refusal = readRefusal(request, exchange, body);
  if (refusal !== null) return refusal;
  if (!/^application\/json\b/i.test(exchange.contentType)) {
    const type = shorten(exchange.contentType, BODY_SHOWN_CHARS) || 'missing';
    return unusable(request, exchange, `content type ${type}`);
  }
  if (body === null) return unusable(request, exchange, 'not a JSON object');
  if (!('data' in body)) return unusable(request, exchange, 'no `data` in it');
  return { kind: 'answer', data: body['data'], total: body['total'] };
}

function parseObject(text: string): Record<string, unknown> | null {
  if (!text.startsWith('{')) return null;
  try {
    const value: Record<string, unknown> = JSON.parse(text);
    return value;
  } catch {
    return null;
  }
}

/** It answered, but not as PVE does: a proxy, a captive portal, another service on the port. */
function unusable(request: PveRequest, response: Response, why: string): Failure {
  const start = shorten(response.text.trimStart(), BODY_SHOWN_CHARS).replace(/\s+/g, ' ');
  const where = `[${response.status} ${request.method} ${request.path}]`;
  const message = `not an answer of the PVE API: ${why}, begins "${start}" ${where}`;
  return {
    kind: 'failure',
    problem: { code: 'service_unavailable', message },
    effect: 'maybe',
    status: response.status,
    errors: {},
  };
}

function parseOrigin(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isPlain = url !== null && url.pathname === '/' && url.search === '' && url.hash === '';
  if (url === null || !isPlain || url.protocol !== 'https:' || url.username !== '') {
    throw new ReconcilerError('config_invalid', 'proxmox.url must be https://HOST:PORT', {
      hint: 'A node listens on port 8006, TLS only: https://127.0.0.1:8006.',
    });
  }
  return url;
}
