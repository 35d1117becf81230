/** The agent's events, over as many connections as it takes: nothing that is recorded is missed. */
import type { Clock } from '../../reconcile/clock.ts';
import { ReconcilerError } from '../../reconcile/errors.ts';
import { type ControlClient, isForNow, isRefusal } from './client.ts';
import type { ServerEvent } from './server-events.ts';

/** How soon an agent that could not answer is asked again. */
export const RETRY_MS = 1_000;

export interface FollowOptions {
  readonly types: readonly string[];
  /** The seq of the last record seen; null: from now on. */
  readonly afterSeq: number | null;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export type Followed =
  | { readonly kind: 'event'; readonly event: ServerEvent }
  /** There is no stream, and it is tried again. */
  | { readonly kind: 'lost'; readonly error: unknown };

/** Ends when the signal is aborted; never by itself. Throws a refusal that is not for now. */
export async function* followEvents(
  client: ControlClient,
  { types, afterSeq, clock, signal }: FollowOptions,
): AsyncGenerator<Followed> {
  let lastId = afterSeq === null ? undefined : String(afterSeq);
  while (!signal.aborted) {
    try {
      const resume = lastId === undefined ? {} : { lastId };
      for await (const event of await client.openEvents({ types, signal, ...resume })) {
        if (event.id !== '') lastId = event.id;
        yield { kind: 'event', event };
      }
      throw new ReconcilerError('interrupted', 'the agent ended the stream');
    } catch (error) {
      if (signal.aborted) return;
      if (isRefusal(error) && !isForNow(error)) throw error;
      yield { kind: 'lost', error };
    }
    await clock.sleep(RETRY_MS, signal);
  }
}
