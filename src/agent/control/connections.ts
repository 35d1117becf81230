/**
 * A listener's connections: how many there may be, which one gives way, and what is answered to
 * bytes that are no request. Whoever keeps connections open and says nothing, says it slowly, or
 * does not read what it asked for, holds nobody up: at the bound the one that is waited for longest
 * is closed for the new one. An answer that is being worked on, or a stream, never gives way; a
 * stream that nobody reads on is closed.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { PROBLEM_TYPE, problemOf } from './problem.ts';

/**
 * How often connections are held against their timeouts, which it adds to. Also where there are
 * none the agent wakes up for it.
 */
export const CHECK_INTERVAL_MS = 3_000;

interface Exchange {
  /** The newest request, from its head on; null before the first. */
  readonly request: IncomingMessage | null;
  /** Not yet gone out whole: more than one where requests come without waiting for answers. */
  readonly answers: Set<ServerResponse>;
}

export interface ConnectionBounds {
  readonly max: number;
  /**
   * A connection on which nothing is worked on, or something waits to be read, and nothing has
   * moved for so long, is closed.
   */
  readonly stillMs: number;
}

export function boundConnections(server: Server, { max, stillMs }: ConnectionBounds): void {
  /** In the order in which their newest request began. */
  const open = new Map<Socket, Exchange>();
  server.on('connection', (socket: Socket) => {
    if (open.size >= max) {
      const [idle] = [...open].find(([, exchange]) => isWaitedFor(exchange)) ?? [socket];
      open.delete(idle);
      idle.destroy();
      if (idle === socket) return;
    }
    open.set(socket, { request: null, answers: new Set() });
    socket.once('close', () => open.delete(socket));
  });
  server.on('request', (request, response) => {
    const { socket } = request;
    const answers = open.get(socket)?.answers;
    if (answers === undefined) return;
    open.delete(socket);
    open.set(socket, { request, answers: answers.add(response) });
    response.once('close', () => answers.delete(response));
  });
  // Node ends idle connections this way too; with a listener that is the listener's task.
  server.setTimeout(stillMs, (socket) => {
    const exchange = open.get(socket);
    const isUnread = socket.writableLength > 0;
    if (exchange === undefined || isUnread || isWaitedFor(exchange)) socket.destroy();
  });
}

/** The next move is the other side's: to say something, to say all of it, or to read. */
function isWaitedFor({ request, answers }: Exchange): boolean {
  if (request?.complete === false) return true;
  return [...answers].every(({ writableEnded }) => writableEnded);
}

const NO_REQUEST_HINT =
  'send a whole HTTP/1.1 request: the detail says what is wrong with this one';

/** What Node's parser refuses, or gives up waiting for, as a problem document. */
export function answerNoRequest(
  error: Error & { readonly code?: string },
  socket: Socket,
  requestId: string,
): void {
  if (socket.writable && error.code !== 'ECONNRESET') {
    const { status, reason, message, code } = explain(error.code);
    const problem = { code, message, hint: NO_REQUEST_HINT };
    const body = JSON.stringify(problemOf(problem, { request_id: requestId }, status));
    const head = [
      `HTTP/1.1 ${status} ${reason}`,
      `content-type: ${PROBLEM_TYPE}`,
      `content-length: ${Buffer.byteLength(body)}`,
      `x-request-id: ${requestId}`,
      'cache-control: no-store',
      'connection: close',
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
  }
  socket.destroy(error);
}

function explain(code: string | undefined): {
  readonly status: number;
  readonly reason: string;
  readonly code: 'timeout' | 'invalid_request';
  readonly message: string;
} {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT': {
      const message = 'the request did not arrive in time';
      return { status: 408, reason: 'Request Timeout', code: 'timeout', message };
    }
    case 'HPE_HEADER_OVERFLOW': {
      const message = 'the headers are too large';
      const reason = 'Request Header Fields Too Large';
      return { status: 431, reason, code: 'invalid_request', message };
    }
    default: {
      const message = 'that is not an HTTP request';
      return { status: 400, reason: 'Bad Request', code: 'invalid_request', message };
    }
  }
}
