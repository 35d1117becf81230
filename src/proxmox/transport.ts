/**
 * HTTP over one undici pool: sends one request, collects one answer whole, within limits. It does
 * not know what an answer means and never repeats a request.
 *
 * PVE's habits (PVE-FACTS 4): 100 requests per connection, closed after about 5 s idle; a
 * connection is given up before PVE does, so that a request is not written into a closing one.
 */
import { type Dispatcher, Pool } from 'undici';
import type { PveRequest } from './request.ts';
import { isWrite } from './request.ts';
import { ConnectError, createConnector, type TlsTrust } from './trust.ts';

/** pvedaemon has 3 workers (PVE-FACTS 6); one is left to people. */
export const MAX_CONNECTIONS = 2;
const REQUESTS_PER_CONNECTION = 99;
const IDLE_MS = 3_500;
/** A full list of 1,000 guests has about 0.5 MB. */
const ANSWER_MAX_BYTES = 16 * 1024 * 1024;
const BODY_PAUSE_MS = 10_000;

export interface Limits {
  /** Until the head of the answer. */
  readonly headersMs: number;
  /** Until its end, however slowly it drops in. */
  readonly totalMs: number;
}

/** Reads are asked again later at no cost; for writes, waiting for pveproxy's own 596 after 30 s
 * (PVE-FACTS 5) may tell more. */
const LIMITS: Readonly<Record<'read' | 'write', Limits>> = {
  read: { headersMs: 20_000, totalMs: 30_000 },
  write: { headersMs: 35_000, totalMs: 45_000 },
};

export interface Response {
  readonly kind: 'response';
  readonly status: number;
  readonly reason: string;
  readonly contentType: string;
  readonly text: string;
}

/** No whole answer. `wasSent` false: not a byte of it reached the node. */
export interface NoResponse {
  readonly kind: 'no_response';
  readonly wasSent: boolean;
  readonly cause: 'connect' | 'untrusted' | 'timeout' | 'cut' | 'too_large' | 'aborted';
  readonly message: string;
}

export type Exchange = Response | NoResponse;

export interface TransportOptions {
  readonly origin: URL;
  readonly trust: TlsTrust;
  /** The value of the Authorization header. */
  readonly authorization: () => string;
  /** For both kinds, where waiting so long makes no sense. */
  readonly limits?: Limits | undefined;
}

export class Transport {
  readonly #pool: Pool;
  readonly #authorization: () => string;
  readonly #limits: typeof LIMITS;

  constructor(options: TransportOptions) {
    const { limits } = options;
    this.#authorization = options.authorization;
    this.#limits = limits === undefined ? LIMITS : { read: limits, write: limits };
    this.#pool = new Pool(options.origin.origin, {
      connect: createConnector(options.trust, options.origin.hostname),
      connections: MAX_CONNECTIONS,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: IDLE_MS,
      keepAliveMaxTimeout: IDLE_MS,
      maxRequestsPerClient: REQUESTS_PER_CONNECTION,
      bodyTimeout: BODY_PAUSE_MS,
    });
  }

  /** Never rejects. */
  exchange(request: PveRequest, signal: AbortSignal): Promise<Exchange> {
    if (signal.aborted) {
      const early: NoResponse = {
        kind: 'no_response',
        wasSent: false,
        cause: 'aborted',
        message: 'aborted',
      };
      return Promise.resolve(early);
    }
    const limits = this.#limits[isWrite(request) ? 'write' : 'read'];
    const body = request.body === undefined ? null : JSON.stringify(request.body);
    const headers: Record<string, string> = {
      authorization: this.#authorization(),
      accept: 'application/json',
    };
    if (body !== null) headers['content-type'] = 'application/json';
    return new Promise((resolve) => {
      const collector = new Collector(resolve, limits.totalMs, signal);
      this.#pool.dispatch(
        {
          path: `/api2/json${request.path}`,
          method: request.method,
          headers,
          body,
          headersTimeout: limits.headersMs,
          idempotent: !isWrite(request),
        },
        collector,
      );
    });
  }

  /** Cuts what is under way. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}

/** Gathers one answer and settles once; what comes after that is cut off. */
class Collector implements Dispatcher.DispatchHandler {
  readonly #resolve: (exchange: Exchange) => void;
  readonly #signal: AbortSignal;
  readonly #deadline: NodeJS.Timeout;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #controller: Dispatcher.DispatchController | null = null;
  #wasSent = false;
  #isSettled = false;
  #status = 0;
  #reason = '';
  #contentType = '';

  constructor(resolve: (exchange: Exchange) => void, totalMs: number, signal: AbortSignal) {
    this.#resolve = resolve;
    this.#signal = signal;
    this.#deadline = setTimeout(
      () => this.#giveUp('timeout', `no answer in ${totalMs} ms`),
      totalMs,
    );
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  readonly #onAbort = (): void => this.#giveUp('aborted', 'aborted');

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#isSettled) {
      controller.abort(new Error('given up before it was sent'));
      return;
    }
    this.#wasSent = true;
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
    reason?: string,
  ): void {
    this.#status = status;
    this.#reason = reason ?? '';
    this.#contentType = String(headers['content-type'] ?? '');
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > ANSWER_MAX_BYTES) {
      this.#giveUp('too_large', `the answer is larger than ${ANSWER_MAX_BYTES} bytes`);
    } else if (!this.#isSettled) {
      this.#chunks.push(chunk);
    }
  }

  onResponseEnd(): void {
    const [first] = this.#chunks;
    const bytes = this.#chunks.length === 1 && first ? first : Buffer.concat(this.#chunks);
    this.#settle({
      kind: 'response',
      status: this.#status,
      reason: this.#reason,
      contentType: this.#contentType,
      text: bytes.toString('utf8'),
    });
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (error instanceof ConnectError) {
      this.#fail(error.isUntrusted ? 'untrusted' : 'connect', error.message);
    } else {
      this.#fail(isTimeout(error) ? 'timeout' : 'cut', error.message);
    }
  }

  #giveUp(cause: NoResponse['cause'], message: string): void {
    this.#fail(cause, message);
    this.#controller?.abort(new Error(message));
  }

  #fail(cause: NoResponse['cause'], message: string): void {
    this.#settle({ kind: 'no_response', wasSent: this.#wasSent, cause, message });
  }

  #settle(exchange: Exchange): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    clearTimeout(this.#deadline);
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#resolve(exchange);
  }
}

function isTimeout(error: Error): boolean {
  return error.name === 'HeadersTimeoutError' || error.name === 'BodyTimeoutError';
}
