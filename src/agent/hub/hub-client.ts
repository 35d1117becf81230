/**
 * The agent's two requests to its hub, over TLS it trusts: the stream of ops, and a receipt. What
 * comes of them is a value; redirects are not followed, and nothing is tried twice here.
 */
import { Pool } from 'undici';
import { ConnectError, createConnector, type TlsTrust } from '../../proxmox/trust.ts';

/** A hub that has not answered by then will not. */
const ANSWER_TIMEOUT_MS = 30_000;
/** What a hub says to a receipt is not read further than this. */
const ANSWER_MAX_BYTES = 64 * 1024;
/** The stream, a receipt, a refusal. */
const CONNECTIONS_MAX = 3;

export type HubFailure = {
  readonly kind: 'unreachable';
  /** The certificate is not the one we trust. */
  readonly isUntrusted: boolean;
  readonly message: string;
};

export type StreamAnswer =
  | { readonly kind: 'open'; readonly body: AsyncIterable<Uint8Array> }
  | { readonly kind: 'rejected'; readonly status: number }
  | { readonly kind: 'not_a_stream'; readonly contentType: string }
  | HubFailure;

export type PostAnswer = { readonly kind: 'answered'; readonly status: number } | HubFailure;

export interface HubClient {
  /** `cursor`: the last event dealt with. Aborting cuts the stream, also while it is read. */
  openStream(cursor: string | null, signal: AbortSignal): Promise<StreamAnswer>;
  postReceipt(envelope: string, signal: AbortSignal): Promise<PostAnswer>;
  close(): Promise<void>;
}

export function createHubClient({
  url,
  agent,
  trust,
  signRequest,
}: {
  /** `https://HOST[:PORT][/PATH]`, without a slash at its end. */
  readonly url: string;
  readonly agent: string;
  readonly trust: TlsTrust;
  /** Who asks for the stream, signed: an envelope's text, made anew for each connection. */
  readonly signRequest: () => string;
}): HubClient {
  const { origin, hostname, pathname } = new URL(url);
  const base = `${pathname.replace(/\/$/, '')}/v1/agents/${encodeURIComponent(agent)}`;
  const pool = new Pool(origin, {
    connect: createConnector(trust, hostname),
    connections: CONNECTIONS_MAX,
    allowH2: false,
    headersTimeout: ANSWER_TIMEOUT_MS,
    bodyTimeout: ANSWER_TIMEOUT_MS,
  });
  return {
    async openStream(cursor, signal) {
      try {
        const answer = await pool.request({
          method: 'GET',
          path: `${base}/ops`,
          headers: {
            accept: 'text/event-stream',
            authorization: `DSSE ${Buffer.from(signRequest()).toString('base64')}`,
            ...(cursor === null ? {} : { 'last-event-id': cursor }),
          },
          // How long a stream may be silent is the stream's own affair.
          bodyTimeout: 0,
          signal,
        });
        const contentType = String(answer.headers['content-type'] ?? '');
        const isStream = contentType.startsWith('text/event-stream');
        if (answer.statusCode === 200 && isStream) return { kind: 'open', body: answer.body };
        answer.body.on('error', () => undefined).destroy();
        return answer.statusCode === 200
          ? { kind: 'not_a_stream', contentType }
          : { kind: 'rejected', status: answer.statusCode };
      } catch (error) {
        return toFailure(error);
      }
    },
    async postReceipt(envelope, signal) {
      try {
        const answer = await pool.request({
          method: 'POST',
          path: `${base}/receipts`,
          headers: { 'content-type': 'application/json' },
          body: envelope,
          signal,
        });
        await answer.body.dump({ limit: ANSWER_MAX_BYTES, signal });
        return { kind: 'answered', status: answer.statusCode };
      } catch (error) {
        return toFailure(error);
      }
    },
    close: () => pool.destroy(),
  };
}

function toFailure(error: unknown): HubFailure {
  const message = error instanceof Error ? error.message : String(error);
  return {
    kind: 'unreachable',
    isUntrusted: error instanceof ConnectError && error.isUntrusted,
    message,
  };
}
