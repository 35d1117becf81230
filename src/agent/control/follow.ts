/** The agent's events, over as many connections as it takes: nothing that is recorded is missed. */
import type { Clock } from '../../reconcile/clock.ts';
import { ReconcilerError } from '../../reconcile/errors.ts';
import { type ControlClient, isRefusal } from './client.ts';
import type { ServerEvent } from './server-events.ts';

const RETRY_MS = 1_000;

export interface FollowOptions {
  readonly types: readonly string[];
  /** The seq of the last record seen; null: from now on. */
  readonly afterSeq: number | null;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** The connection is gone, and is tried again. Rejecting it ends the following. */
  readonly onLost: (error: unknown) => void;
}

/** Ends when the signal is aborted; never by itself. Throws what the agent refuses a stream with. */
export async function* followEvents(
  client: ControlClient,
  { types, afterSeq, clock, signal, onLost }: FollowOptions,
): AsyncGenerator<ServerEvent> {
  let lastId = afterSeq === null ? undefined : String(afterSeq);
  while (!signal.aborted) {
    try {
      const resume = lastId === undefined ? {} : { lastId };
      for await (const event of client.events({ types, signal, ...resume })) {
        if (event.id !== '') lastId = event.id;
        yield event;
      }
      if (!signal.aborted) onLost(new ReconcilerError('interrupted', 'the agent ended the stream'));
    } catch (error) {
      if (signal.aborted) return;
      if (isRefusal(error)) throw error;
      onLost(error);
    }
    await clock.sleep(RETRY_MS, signal);
  }
}
