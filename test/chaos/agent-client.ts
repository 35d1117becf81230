/** Asks the agent over its unix socket, as operators and a hub do; an agent that is away is no error. */
import { request as httpRequest } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Answer } from './evidence.ts';

const TIMEOUT_MS = 8_000;
/** An agent that was killed is up again by then, on a busy machine too. */
const PATIENCE_MS = 12_000;
const TRY_AGAIN_MS = 200;

export interface Reply {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Null: no whole answer. While nobody listens it is tried again: nothing was sent. */
export async function askAgent(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
): Promise<Reply | null> {
  for (let patienceMs = PATIENCE_MS; ; patienceMs -= TRY_AGAIN_MS) {
    const reply = await askOnce(socketPath, method, path, body);
    if (reply !== 'nobody') return reply;
    if (patienceMs <= 0) return null;
    await delay(TRY_AGAIN_MS);
  }
}

function askOnce(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  body: unknown,
): Promise<Reply | null | 'nobody'> {
  return new Promise((resolve) => {
    const request = httpRequest(
      { socketPath, method, path, agent: false, headers: { 'content-type': 'application/json' } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', () => resolve(null));
        response.on('close', () => {
          if (!response.complete) return resolve(null);
          const text = Buffer.concat(chunks).toString('utf8');
          return resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) });
        });
      },
    );
    request.setTimeout(TIMEOUT_MS, () => request.destroy());
    request.once('error', (error) => resolve(isNobody(error) ? 'nobody' : null));
    request.once('close', () => resolve(null));
    request.end(method === 'GET' ? undefined : JSON.stringify(body ?? {}));
  });
}

function isNobody(error: Error): boolean {
  return 'code' in error && (error.code === 'ECONNREFUSED' || error.code === 'ENOENT');
}

export function answerOf(reply: Reply | null): Answer {
  if (reply === null) return { kind: 'unanswered' };
  const { op_id: opId, code, detail } = reply.body;
  if (reply.status < 300 && typeof opId === 'string') return { kind: 'taken', opId };
  return { kind: 'refused', code: String(code), message: String(detail) };
}
