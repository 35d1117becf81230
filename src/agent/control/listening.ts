/**
 * Puts a server on its address. The unix socket's permissions are all the protection operator ops
 * have: it is made 0660 and never is anything wider, not even for a moment.
 */
import { lstatSync, unlinkSync } from 'node:fs';
import { lstat, mkdir, rename, rm } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { ListenAddress } from '../config/config-schema.ts';

/** What others may not do with the socket: 0777 less this is 0660. */
const SOCKET_UMASK = 0o117;
/** What it is made as, before it takes its place. */
const NEW = '.new';
/** `sun_path` holds 108 bytes with its final zero; a longer one would be cut without a word. */
const SOCKET_PATH_BYTES_MAX = 107 - NEW.length;
/** A busy agent has answered by then; for a stopped one the kernel takes connections all the same. */
const ANSWERS_WITHIN_MS = 2_000;

/** Resolves with the port that was bound. */
export async function listenOnTcp(server: Server, address: ListenAddress): Promise<number> {
  const listening = whenListening(server, `${address.host}:${address.port}`);
  server.listen({ host: address.host, port: address.port });
  await listening;
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? bound.port : address.port;
}

/**
 * A socket behind which nobody answers is replaced (its agent is dead, or stopped and has lost the
 * journal); a live one's, or what is no socket, is left and refused.
 *
 * It is made under another name and renamed: Node removes what it made when the server ends, and
 * that must not be the socket of whoever has replaced it meanwhile.
 */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    throw refusal(path, `its path is longer than ${SOCKET_PATH_BYTES_MAX} bytes`);
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o750 }).catch((error: unknown) => {
    throw refusal(path, errorText(error));
  });
  await refuseWhatIsAlive(path);
  await rm(`${path}${NEW}`, { force: true });
  const listening = whenListening(server, path);
  // Node binds a path before `listen` returns: nothing else is created under this umask.
  const usual = process.umask(SOCKET_UMASK);
  try {
    server.listen({ path: `${path}${NEW}` });
  } finally {
    process.umask(usual);
  }
  await listening;
  const { ino } = await lstat(`${path}${NEW}`);
  await rename(`${path}${NEW}`, path);
  server.once('close', () => {
    if (lstatSync(path, { throwIfNoEntry: false })?.ino === ino) unlinkSync(path);
  });
}

async function refuseWhatIsAlive(path: string): Promise<void> {
  const found = await lstat(path).catch(() => null);
  if (found === null) return;
  if (!found.isSocket()) throw refusal(path, 'there is something that is no socket');
  if (await isAnswered(path)) throw refusal(path, 'another process listens there');
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const end = (answer: boolean): void => {
      clearTimeout(patience);
      socket.destroy();
      resolve(answer);
    };
    const patience = setTimeout(() => end(false), ANSWERS_WITHIN_MS);
    socket.once('data', () => end(true));
    socket.once('end', () => end(true));
    socket.write('GET /healthz HTTP/1.0\r\n\r\n');
    // A full backlog, or no permission to ask: somebody may well be there.
    socket.once('error', (error: NodeJS.ErrnoException) =>
      end(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    );
  });
}

function whenListening(server: Server, where: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => {
      server.off('listening', onListening);
      reject(refusal(where, error.message));
    };
    const onListening = (): void => {
      server.off('error', onError);
      resolve();
    };
    server.once('error', onError);
    server.once('listening', onListening);
  });
}

function refusal(where: string, why: string): ReconcilerError {
  return new ReconcilerError('config_invalid', `cannot listen on ${where}: ${why}`, {
    disposition: 'halt',
    hint: 'see `control` in the configuration: each agent has a socket and ports of its own',
  });
}

function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
