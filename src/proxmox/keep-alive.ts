/**
 * Keeps a connection open where PVE says both that it closes and that it does not.
 *
 * Answers that pveproxy passes on from pvedaemon carry `Connection: close` and
 * `Connection: Keep-Alive`; the connection stays open and serves on (PVE-FACTS 5). An HTTP parser
 * obeys `close`, so undici would reconnect for every power action, task status and guest list, at
 * twice the time. Here the bytes of such a head are changed before the parser sees them, one
 * letter of the name of the `close` line, and only where the same head also says `Keep-Alive`: a
 * connection that PVE really closes (every answer from 400 on) says `close` alone.
 *
 * Only heads are touched: a socket is looked at from the write of a request to the end of its
 * head. Requests are never pipelined.
 */
import type { Socket } from 'node:net';

/** PVE's heads have about 300 bytes; past this it is not one we know, and is left alone. */
const HEAD_MAX_BYTES = 16 * 1024;
const HEAD_END = '\r\n\r\n';
const CLOSE = '\r\nconnection: close\r\n';
const KEEP_ALIVE = '\r\nconnection: keep-alive\r\n';
const LETTER_X = 'x'.charCodeAt(0);

export function keepAliveAsServed<S extends Socket>(socket: S): S {
  let isHeadDue = false;
  let held: Buffer | null = null;
  const read = socket.read.bind(socket);
  const write = socket.write.bind(socket);

  // Both are called on every request: plain functions, set as own properties.
  Reflect.set(socket, 'write', (...args: Parameters<Socket['write']>): boolean => {
    isHeadDue = true;
    return write(...args);
  });
  Reflect.set(socket, 'read', (size?: number): unknown => {
    const chunk: unknown = read(size);
    if (!isHeadDue || !Buffer.isBuffer(chunk)) return chunk;
    const bytes: Buffer = held === null ? chunk : Buffer.concat([held, chunk]);
    const end = bytes.indexOf(HEAD_END);
    if (end === -1 && bytes.length < HEAD_MAX_BYTES) {
      held = bytes;
      return null;
    }
    held = null;
    isHeadDue = false;
    if (end !== -1) settleHead(bytes, end + 2);
    return bytes;
  });
  return socket;
}

/** `end` is past the line end of the last header. */
function settleHead(bytes: Buffer, end: number): void {
  const head = bytes.toString('latin1', 0, end).toLowerCase();
  const close = head.indexOf(CLOSE);
  if (close === -1 || !head.includes(KEEP_ALIVE)) return;
  bytes[close + 2] = LETTER_X;
}
