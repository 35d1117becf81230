/**
 * Puts a server on its address. The unix socket's permissions are all the protection operator ops
 * have: it is made 0660 and never is anything wider, not even for a moment.
 */
import { lstat, mkdir, unlink } from 'node:fs/promises';

import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { ListenAddress } from '../config-schema.ts';

/** What others may not do with the socket: 0777 less this is 0660. */
const SOCKET_UMASK = 0o117;
/** `sun_path` holds 108 bytes with its final zero; a longer one would be cut without a word. */
const SOCKET_PATH_BYTES_MAX = 107;

/** Resolves with the port that was bound. */
export async function listenOnTcp(server: Server, address: ListenAddress): Promise<number> {
  const listening = whenListening(server, `${address.host}:${address.port}`);
  server.listen({ host: address.host, port: address.port });
  await listening;
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? bound.port : address.port;
}

/** A dead agent's socket is replaced; a live one's, or what is no socket, is left and refused. */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    throw refusal(path, `its path is longer than ${SOCKET_PATH_BYTES_MAX} bytes`);
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o750 }).catch((error: unknown) => {
    throw refusal(path, errorText(error));
  });
  await removeDeadSocket(path);
  const listening = whenListening(server, path);
  // Node binds a path before `listen` returns: nothing else is created under this umask.
  const usual = process.umask(SOCKET_UMASK);
  try {
    server.listen({ path });
  } finally {
    process.umask(usual);
  }
  await listening;
}

async function removeDeadSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => null);
  if (found === null) return;
  if (!found.isSocket()) throw refusal(path, 'there is something that is no socket');
  if (await isAnswered(path)) throw refusal(path, 'another process listens there');
  await unlink(path);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end(true));
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
