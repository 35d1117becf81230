/**
 * HTTP/1.1 over TLS, spoken by hand, because the habits of pveproxy are part of what is simulated
 * and no HTTP library would send them: reason phrases that carry the error, two `Connection`
 * headers on one answer, 401 and 595 without a length, connections closed after 100 requests, 5 s
 * idle or any error (PVE-FACTS 2, 4, 5).
 *
 * It knows nothing of PVE's API. Invariant: one request at a time per connection.
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import { assertNever } from './assert-never.ts';
import type { Leaf } from './certificates.ts';
import { parseHead, type WireRequest } from './wire-request.ts';

/** Request bodies beyond this are refused with 501 (PVE-FACTS 4). */
const MAX_BODY_BYTES = 512 * 1024;
/** Request line and headers; the headers alone have a limit of their own. */
const MAX_HEAD_BYTES = 72 * 1024;
const MAX_REQUESTS = 100;
const IDLE_MS = 5_000;
const TLS_HANDSHAKE_RECORD = 0x16;

export interface Answer {
  readonly kind: 'answer';
  readonly status: number;
  readonly reason: string;
  readonly contentType: string | null;
  /** null: no body and no length, the end of the connection ends the answer. */
  readonly body: Buffer | null;
  readonly headers?: readonly (readonly [string, string])[];
  /** Passed on from pvedaemon: carries both `Connection` headers. */
  readonly isProxied: boolean;
}

export type Reply =
  | Answer
  /** The connection ends, after `bytes` of an answer. */
  | { readonly kind: 'cut'; readonly bytes: Buffer | null }
  /** Nothing is ever said; the connection stays open. */
  | { readonly kind: 'hang' }
  /** Chunks as they come, then the connection ends. */
  | { readonly kind: 'chunks'; readonly chunks: AsyncIterable<Buffer> };

export type WireHandler = (request: WireRequest) => Promise<Reply>;

export interface Wire {
  readonly port: number;
  readonly connectionsOpened: () => number;
  readonly connectionsOpen: () => number;
  useLeaf(leaf: Leaf): void;
  dropConnections(): void;
  /** true: connections are closed as soon as they are made, as if nobody listened. */
  setRefusing(isRefusing: boolean): void;
  close(): Promise<void>;
}

/** The bytes of an answer, with a Date of `nowMs`. */
export function renderAnswer(answer: Answer, options: { isLast: boolean; nowMs: number }): Buffer {
  const date = new Date(options.nowMs).toUTCString();
  const isClosing = options.isLast || answer.status >= 400 || answer.body === null;
  const lines = [`HTTP/1.1 ${answer.status} ${answer.reason}`, 'Cache-Control: max-age=0'];
  if (isClosing) lines.push('Connection: close');
  else if (answer.isProxied) lines.push('Connection: close', 'Connection: Keep-Alive');
  else lines.push('Connection: Keep-Alive');
  lines.push(`Date: ${date}`, 'Pragma: no-cache', 'Server: pve-api-daemon/3.0');
  if (answer.body !== null) lines.push(`Content-Length: ${answer.body.length}`);
  if (answer.contentType !== null) lines.push(`Content-Type: ${answer.contentType}`);
  for (const [key, value] of answer.headers ?? []) lines.push(`${key}: ${value}`);
  lines.push(`Expires: ${date}`, '', '');
  return Buffer.concat([Buffer.from(lines.join('\r\n'), 'utf8'), answer.body ?? Buffer.alloc(0)]);
}

interface Options {
  readonly port: number;
  readonly leaf: Leaf;
  readonly handle: WireHandler;
  readonly nowMs: () => number;
  /** How long a silent connection is kept; default as pveproxy does. */
  readonly idleMs?: number;
}

export async function listenWire(options: Options): Promise<Wire> {
  let context = contextOf(options.leaf);
  let opened = 0;
  let isRefusing = false;
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    if (isRefusing) {
      socket.resetAndDestroy();
      return;
    }
    opened += 1;
    open.add(socket);
    socket.setNoDelay(true);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => socket.destroy());
    greet(socket, () => context, options, port);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', resolve);
  });
  const port = (server.address() as AddressInfo).port;
  return {
    port,
    connectionsOpened: () => opened,
    connectionsOpen: () => open.size,
    useLeaf: (leaf) => {
      context = contextOf(leaf);
    },
    dropConnections: () => open.forEach((socket) => socket.destroy()),
    setRefusing: (value) => {
      isRefusing = value;
    },
    close: () => closeServer(server, open),
  };
}

function contextOf(leaf: Leaf): SecureContext {
  return createSecureContext({ cert: leaf.certificatePem, key: leaf.keyPem });
}

function closeServer(server: Server, open: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const socket of open) socket.destroy();
  });
}

/** TLS, or plain HTTP, which is answered with a redirect to https (transcript plain_http). */
function greet(socket: Socket, context: () => SecureContext, options: Options, port: number): void {
  socket.once('data', (first: Buffer) => {
    if (first[0] !== TLS_HANDSHAKE_RECORD) {
      const target = /^\S+ (\S+)/.exec(first.toString('latin1'))?.[1] ?? '/';
      const location = `https://127.0.0.1:${port}${target}`;
      socket.end(
        `HTTP/1.1 301 Moved Permanently\r\nLocation: ${location}\r\nContent-Length: 17\r\n` +
          'Connection: close\r\n\r\nMoved Permanently',
      );
      return;
    }
    socket.pause();
    socket.unshift(first);
    const secure = new TLSSocket(socket, { isServer: true, secureContext: context() });
    secure.on('error', () => socket.destroy());
    secure.on('close', () => socket.destroy());
    converse(secure, options).catch((error: unknown) => {
      // A mistake of the simulator, not of its client: say so.
      console.error(error);
      socket.destroy();
    });
  });
}

/** Requests and answers on one connection until one side ends it. */
async function converse(socket: TLSSocket, options: Options): Promise<void> {
  const reader = new Reader(socket);
  socket.on('timeout', () => socket.destroy());
  for (let count = 1; count <= MAX_REQUESTS; count += 1) {
    socket.setTimeout(options.idleMs ?? IDLE_MS);
    const head = await reader.head(MAX_HEAD_BYTES);
    socket.setTimeout(0);
    const request = head === null ? null : parseHead(head);
    if (request === null) {
      socket.destroy();
      return;
    }
    const reply = await answerOne(request, reader, options);
    if (reply === null) {
      socket.destroy();
      return;
    }
    const isLast = count === MAX_REQUESTS;
    if (!(await sendReply(socket, reply, { isLast, nowMs: options.nowMs() }))) return;
  }
}

async function answerOne(
  request: WireRequest,
  reader: Reader,
  options: Options,
): Promise<Reply | null> {
  const length = Number(request.headers.get('content-length') ?? '0');
  if (length > MAX_BODY_BYTES) {
    // Unread bytes would reset the connection, and the answer with it.
    if (!(await reader.discard(length))) return null;
    const body = Buffer.from('for data too large');
    const reason = 'for data too large';
    return { kind: 'answer', status: 501, reason, contentType: null, body, isProxied: false };
  }
  const body = await reader.bytes(length);
  return body === null ? null : options.handle({ ...request, body });
}

/** True when the connection goes on. */
async function sendReply(
  socket: TLSSocket,
  reply: Reply,
  options: { isLast: boolean; nowMs: number },
): Promise<boolean> {
  switch (reply.kind) {
    case 'answer': {
      const bytes = renderAnswer(reply, options);
      if (!options.isLast && reply.status < 400 && reply.body !== null) {
        socket.write(bytes);
        return true;
      }
      socket.end(bytes);
      return false;
    }
    case 'cut':
      if (reply.bytes !== null) await new Promise((done) => socket.write(reply.bytes ?? '', done));
      socket.destroy();
      return false;
    case 'hang':
      return false;
    case 'chunks':
      for await (const chunk of reply.chunks) {
        if (socket.destroyed) return false;
        if (!socket.write(chunk)) await drained(socket);
      }
      socket.end();
      return false;
    default:
      return assertNever(reply);
  }
}

function drained(socket: TLSSocket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}

/**
 * Bytes as they arrive, handed out as heads and bodies. null: the peer is gone or said too much.
 */
class Reader {
  #buffer: Buffer = Buffer.alloc(0);
  #isOver = false;
  #wake: (() => void) | null = null;

  constructor(socket: TLSSocket) {
    socket.on('data', (chunk: Buffer) => {
      this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
      this.#wake?.();
    });
    const over = (): void => {
      this.#isOver = true;
      this.#wake?.();
    };
    socket.on('end', over);
    socket.on('close', over);
  }

  async head(limit: number): Promise<string | null> {
    for (;;) {
      const end = this.#buffer.indexOf('\r\n\r\n');
      if (end > limit || (end < 0 && this.#buffer.length > limit)) return null;
      if (end >= 0) return this.#take(end + 4).toString('latin1');
      if (!(await this.#more())) return null;
    }
  }

  async bytes(length: number): Promise<Buffer | null> {
    while (this.#buffer.length < length) if (!(await this.#more())) return null;
    return this.#take(length);
  }

  async discard(length: number): Promise<boolean> {
    for (let left = length; left > 0; ) {
      if (this.#buffer.length === 0 && !(await this.#more())) return false;
      left -= this.#take(Math.min(left, this.#buffer.length)).length;
    }
    return true;
  }

  #take(length: number): Buffer {
    const taken = this.#buffer.subarray(0, length);
    this.#buffer = this.#buffer.subarray(length);
    return taken;
  }

  async #more(): Promise<boolean> {
    if (this.#isOver) return false;
    const before = this.#buffer.length;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = null;
    return this.#buffer.length > before;
  }
}
