/**
 * The control API as the commands use it: one call per route, over the unix socket. Answers are
 * parsed by the route's schema; problem documents become `ReconcilerError`s again.
 */
import { Pool } from 'undici';
import { z } from 'zod';
import { ReconcilerError } from '../../reconcile/errors.ts';
import { problemDocument } from './documents.ts';
import type { Route, RouteCall } from './route.ts';
import { readServerEvents, type ServerEvent } from './server-events.ts';

/** The agent answers in milliseconds; a plan waits for the node, which may take its time. */
const ANSWER_TIMEOUT_MS = 60_000;
/** A stream of events keeps a connection of its own. */
const CONNECTIONS_MAX = 4;
const CONNECT_TIMEOUT_MS = 5_000;
/** A stream begins with a snapshot of all guests: ten thousand of them are about 10 MB. */
const EVENT_MAX_CHARS = 64 * 1024 * 1024;
/** Twice what the agent lets pass without a word. */
const EVENTS_SILENCE_MS = 30_000;

export interface ControlClient extends AsyncDisposable {
  /** Throws what the agent answered, `service_unavailable` or `forbidden`. */
  call<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, A extends z.ZodType>(
    route: Route<P, Q, B, A>,
    call?: RouteCall<Route<P, Q, B, A>>,
  ): Promise<z.output<A>>;
  /**
   * One connection's events; they end when the agent or the signal ends it. Once this resolves the
   * stream is open: what the agent does from then on is told.
   */
  openEvents(options: EventOptions): Promise<AsyncGenerator<ServerEvent>>;
}

interface EventOptions {
  readonly types: readonly string[];
  /** The id of the last event seen. */
  readonly lastId?: string;
  readonly signal: AbortSignal;
}

export function connectToAgent(socket: string): ControlClient {
  const client = new Pool('http://agent', {
    socketPath: socket,
    connections: CONNECTIONS_MAX,
    connect: { timeout: CONNECT_TIMEOUT_MS },
    headersTimeout: ANSWER_TIMEOUT_MS,
    bodyTimeout: EVENTS_SILENCE_MS,
  });
  return {
    async call(route, call = {}) {
      const { statusCode, text } = await send(client, socket, requestOf(route, call));
      const json = readJson(text);
      // A readiness that says no is an answer, too.
      if (statusCode < 400) return parseAnswer(route.answer, json);
      const readiness = route.answer.safeParse(json);
      const problem = problemDocument.safeParse(json);
      if (problem.success) throw errorOf(problem.data);
      if (readiness.success) return readiness.data;
      throw noProblem(statusCode, socket);
    },
    async openEvents({ types, lastId, signal }) {
      const response = await client
        .request({
          method: 'GET',
          path: `/v1/events?types=${types.join(',')}`,
          headers: lastId === undefined ? {} : { 'last-event-id': lastId },
          signal,
        })
        .catch((error: unknown) => {
          throw unreachable(error, socket);
        });
      if (response.statusCode !== 200) {
        const problem = problemDocument.safeParse(readJson(await response.body.text()));
        throw problem.success ? errorOf(problem.data) : noProblem(response.statusCode, socket);
      }
      const startId = lastId === undefined ? {} : { startId: lastId };
      return readServerEvents(response.body, { maxChars: EVENT_MAX_CHARS, ...startId });
    },
    [Symbol.asyncDispose]: () => client.destroy(),
  };
}

interface Request {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body: string | null;
}

function requestOf<R extends Route>(route: R, { params, query, body }: RouteCall<R>): Request {
  const values = new Map<string, unknown>(Object.entries(params ?? {}));
  const path = route.path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(textOf(values.get(name))),
  );
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    const all: readonly unknown[] = Array.isArray(value) ? value : [value];
    for (const each of all) if (each !== undefined) search.append(name, textOf(each));
  }
  return {
    method: route.method,
    path: search.size === 0 ? path : `${path}?${search.toString()}`,
    body: route.method === 'POST' ? JSON.stringify(body ?? {}) : null,
  };
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

async function send(
  client: Pool,
  socket: string,
  { method, path, body }: Request,
): Promise<{ readonly statusCode: number; readonly text: string }> {
  const headers = body === null ? {} : { 'content-type': 'application/json' };
  try {
    const response = await client.request({ method, path, body, headers });
    return { statusCode: response.statusCode, text: await response.body.text() };
  } catch (error) {
    throw unreachable(error, socket);
  }
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw strange('what came is not JSON');
  }
}

function parseAnswer<Answer extends z.ZodType>(schema: Answer, json: unknown): z.output<Answer> {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw strange(z.prettifyError(parsed.error));
}

function errorOf(problem: z.infer<typeof problemDocument>): ReconcilerError {
  const { code, detail, hint, op_id, request_id } = problem;
  return new ReconcilerError(code, detail, {
    ...(hint === undefined ? {} : { hint }),
    context: {
      ...(op_id === undefined ? {} : { op_id }),
      ...(request_id === undefined ? {} : { request_id }),
    },
  });
}

/** Is this the one failure that means that no agent is there? */
export function isNoAgent(error: unknown): boolean {
  return error instanceof ReconcilerError && error.context['agent'] === 'not running';
}

/** Has the agent answered, with a problem document? Anything else is a connection that failed. */
export function isRefusal(error: unknown): error is ReconcilerError {
  return error instanceof ReconcilerError && 'request_id' in error.context;
}

/** Does it say nothing of what was asked? The agent is away, or has too much to do. */
export function isForNow(error: unknown): boolean {
  return error instanceof ReconcilerError && error.code === 'service_unavailable';
}

function unreachable(error: unknown, socket: string): unknown {
  if (error instanceof ReconcilerError) return error;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ECONNREFUSED') {
    return new ReconcilerError('service_unavailable', `no agent is running behind ${socket}`, {
      hint: 'start it: `systemctl start pve-reconciler`, or `pve-reconciler agent`',
      context: { agent: 'not running' },
    });
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new ReconcilerError('forbidden', `no permission to use ${socket}`, {
      hint: 'run it as root, or as a member of the group the socket belongs to',
    });
  }
  const why = error instanceof Error ? error.message : String(error);
  return new ReconcilerError('service_unavailable', `the agent behind ${socket}: ${why}`, {
    hint: 'look at its log: `journalctl -u pve-reconciler -e`',
    cause: error,
  });
}

function noProblem(statusCode: number, socket: string): unknown {
  // Fastify's own answer on a connection that is still open while the agent ends.
  if (statusCode === 503) return unreachable(new Error('it is shutting down'), socket);
  return strange(`HTTP ${statusCode} without a problem document`);
}

function strange(why: string): ReconcilerError {
  return new ReconcilerError('internal_error', `the agent's answer is not understood: ${why}`, {
    hint: 'are the agent and this command of the same version? Restart the agent after an upgrade',
  });
}
