/**
 * Whose turn it is to look at a lock and take it: a name in the kernel (an abstract unix socket)
 * that only one process of this host can have, and that is free again when that process dies.
 * Any account of the host may take such a name: it can keep us waiting (docs/SECURITY.md), no more.
 */
import { statSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import type { Clock } from '../reconcile/clock.ts';
import { ReconcilerError } from '../reconcile/errors.ts';
import { errnoOf } from './disk.ts';

/** A turn is a few file operations, or a watch of some seconds over a lock that looks stale. */
const TURN_TIMEOUT_MS = 10_000;
const RETRY_MS = 20;

/** Waits for the turn on this folder; returns how to end it. */
export async function holdTurn(folder: string, clock: Clock): Promise<() => Promise<void>> {
  const { dev, ino } = statSync(folder);
  const name = `\0pve-reconciler:${dev}:${ino}`;
  const deadlineMs = clock.monotonicMs() + TURN_TIMEOUT_MS;
  for (;;) {
    const server = await takeName(name);
    if (server !== null) return () => close(server);
    if (clock.monotonicMs() > deadlineMs) break;
    await clock.sleep(RETRY_MS, new AbortController().signal);
  }
  throw new ReconcilerError('journal_locked', 'another process is just opening the journal', {
    disposition: 'retry',
    hint: `Try again in a few seconds; \`ss -xlp\` names the process that has @${name.slice(1)}.`,
  });
}

/** Null where another process has the name; rejects with what else the kernel says. */
export function takeName(name: string): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    // Nobody has anything to say here: a connection that stays would keep the turn from ending.
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error) => {
      if (errnoOf(error) === 'EADDRINUSE') resolve(null);
      else reject(error);
    });
    server.listen({ path: name }, () => resolve(server));
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
