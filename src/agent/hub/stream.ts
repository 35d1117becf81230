/**
 * The outbound connection to a hub, as one state machine: connecting → open → waiting → connecting,
 * until it is stopped. Every connection ends in exactly one outcome, and every outcome but
 * `stopped` leads to the next try.
 *
 * Invariants
 * - H1 The cursor moves past an event only when its op is durable, or its refusal has reached the
 *   hub. What was not dealt with is delivered again; the intake knows it by its key.
 * - H2 One event at a time, in the stream's order: a hub that floods is read no faster than ops
 *   become durable, and the rest waits in its own buffers.
 * - H3 The journal grows by what signers ask for, not by what a hub sends: after an event that made
 *   no op the cursor is noted at most once a second, so that no hub can drive history out of it.
 */
import type { Clock, Random } from '../../reconcile/clock.ts';
import type { ErrorCode, Problem } from '../../reconcile/errors.ts';
import { EventParser, type ServerEvent } from '../control/server-events.ts';
import type { Refusal } from '../daemon/refusal-log.ts';
import type { AgentSigner } from './agent-signer.ts';
import { backoffMs } from './backoff.ts';
import { envelopeText } from './dsse.ts';
import type { HubClient, HubFailure, StreamAnswer } from './hub-client.ts';
import type { AcceptEnvelope } from './intake.ts';

/** An envelope, and some room: beyond it the stream is not one of ours. */
const EVENT_MAX_CHARS = 256 * 1024;
/** The hub says something at least every 60 s; two of its keepalives lost is a dead connection. */
export const SILENCE_MAX_MS = 120_000;
/** Open for so long, or an op taken: the hub is well, and a failure after it the first one. */
const SOUND_AFTER_MS = 60_000;
/** H3; what comes again for it after a crash is known by its key, or refused once more. */
const NOTE_INTERVAL_MS = 1_000;
/** A cursor is a header's value: printable ASCII, spaces not at its ends. */
const CURSOR = /^(?! )[\x20-\x7E]{1,256}(?<! )$/;

/**
 * Refusals that say nothing of the op but that the agent can take none now: the event is asked for
 * again, until its op expires. `queue_full` is none of them: one guest's full lane would hold up
 * every other's ops. Its key was not taken, so the hub may send that op again.
 */
const PASSING: ReadonlySet<ErrorCode> = new Set([
  'service_unavailable',
  'timeout',
  'unauthorized',
  'tls_untrusted',
]);

/** How one connection ended. */
export type StreamOutcome =
  | Exclude<StreamAnswer, { kind: 'open' }>
  /** Nothing for `SILENCE_MAX_MS`. */
  | { readonly kind: 'silent' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'cut'; readonly message: string }
  | { readonly kind: 'too_large' }
  /** An op, or the word of its refusal, has to wait. */
  | { readonly kind: 'deferred'; readonly problem: Problem }
  | { readonly kind: 'stopped' };

export type StreamState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'open'; readonly sinceMs: number }
  | { readonly kind: 'waiting'; readonly untilMs: number; readonly because: StreamOutcome }
  | { readonly kind: 'stopped' };

export interface StreamParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly client: Pick<HubClient, 'openStream' | 'postReceipt'>;
  readonly accept: AcceptEnvelope;
  readonly signer: Pick<AgentSigner, 'refusal'>;
  /** Null: from the beginning. */
  readonly cursor: string | null;
  /** Resolves when it is durable. */
  readonly keepCursor: (cursor: string) => Promise<void>;
  /** Told of each op whose refusal the hub has; must not throw. */
  readonly onRefused: (refusal: Omit<Refusal, 'peer'>) => void;
  /** Told once, of the first event whose id cannot be a cursor: the hub sends it at each connection. */
  readonly onUnkept: (eventId: string) => void;
  /** Told of each change; must not throw. */
  readonly onState: (state: StreamState) => void;
}

export class HubStream {
  readonly #parts: StreamParts;
  #cursor: string | null;
  #notedCursor: string | null;
  #notedAtMs = Number.NEGATIVE_INFINITY;
  #isSound = false;
  #hasUnkept = false;

  constructor(parts: StreamParts) {
    this.#parts = parts;
    this.#cursor = parts.cursor;
    this.#notedCursor = parts.cursor;
  }

  /** Until aborted. Rejects only where the journal can no longer be written. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, onState } = this.#parts;
    let failures = 0;
    while (!signal.aborted) {
      onState({ kind: 'connecting' });
      this.#isSound = false;
      const because = await this.#connect(signal);
      if (because.kind === 'stopped') break;
      await this.#noteCursor();
      failures = this.#isSound ? 0 : failures + 1;
      const pauseMs = backoffMs(Math.max(0, failures - 1), random);
      onState({ kind: 'waiting', untilMs: clock.now() + pauseMs, because });
      await clock.sleep(pauseMs, signal);
    }
    onState({ kind: 'stopped' });
  }

  async #connect(signal: AbortSignal): Promise<StreamOutcome> {
    const { clock, client, onState } = this.#parts;
    const connection = new AbortController();
    const either = AbortSignal.any([signal, connection.signal]);
    const answer = await client.openStream(this.#cursor, either);
    if (signal.aborted) return { kind: 'stopped' };
    if (answer.kind !== 'open') return answer;
    onState({ kind: 'open', sinceMs: clock.now() });
    const watchdog = new Watchdog(clock, () => connection.abort());
    const watching = watchdog.watch(either);
    try {
      return await this.#read(answer.body, watchdog, signal);
    } catch (error) {
      if (signal.aborted) return { kind: 'stopped' };
      if (connection.signal.aborted) return { kind: 'silent' };
      if (!(error instanceof CutError)) throw error;
      return { kind: 'cut', message: error.message };
    } finally {
      this.#isSound ||= watchdog.ageMs() >= SOUND_AFTER_MS;
      connection.abort();
      await watching;
    }
  }

  async #read(
    body: AsyncIterable<Uint8Array>,
    watchdog: Watchdog,
    signal: AbortSignal,
  ): Promise<StreamOutcome> {
    const parser = new EventParser({ maxChars: EVENT_MAX_CHARS });
    for await (const bytes of orCut(body)) {
      const events = parser.push(bytes);
      if (events === null) return { kind: 'too_large' };
      for (const event of events) {
        watchdog.rest();
        const problem = await this.#deal(event, signal);
        if (problem !== null) return { kind: 'deferred', problem };
        if (signal.aborted) return { kind: 'stopped' };
      }
      watchdog.feed();
    }
    return { kind: 'closed' };
  }

  /** Null: dealt with, and the cursor moved (H1). */
  async #deal(event: ServerEvent, signal: AbortSignal): Promise<Problem | null> {
    if (event.type !== 'op' && event.type !== 'message') return null;
    const result = await this.#parts.accept(Buffer.from(event.data));
    if (result.kind === 'refused') {
      const problem = { code: result.code, message: result.message };
      if (PASSING.has(result.code)) return problem;
      const failure = await this.#refuse(event.id, problem, signal);
      if (failure !== null) return { code: 'service_unavailable', message: failure.message };
      const { keyids = [] } = result;
      this.#parts.onRefused({ ...problem, keyids, ids: { event_id: event.id } });
    } else {
      this.#isSound = true;
    }
    if (event.id === this.#cursor || !this.#canKeep(event.id)) return null;
    this.#cursor = event.id;
    const sinceMs = this.#parts.clock.monotonicMs() - this.#notedAtMs;
    if (result.kind === 'accepted' || sinceMs >= NOTE_INTERVAL_MS) await this.#noteCursor();
    return null;
  }

  #canKeep(eventId: string): boolean {
    if (CURSOR.test(eventId)) return true;
    if (!this.#hasUnkept) this.#parts.onUnkept(eventId);
    this.#hasUnkept = true;
    return false;
  }

  async #noteCursor(): Promise<void> {
    const cursor = this.#cursor;
    if (cursor === null || cursor === this.#notedCursor) return;
    await this.#parts.keepCursor(cursor);
    this.#notedCursor = cursor;
    this.#notedAtMs = this.#parts.clock.monotonicMs();
  }

  /** A hub that takes no refusals (any answer of its own but 5xx) has had its chance. */
  async #refuse(
    eventId: string,
    problem: Problem,
    signal: AbortSignal,
  ): Promise<Pick<HubFailure, 'message'> | null> {
    const { client, signer } = this.#parts;
    const refusal = envelopeText(signer.refusal({ eventId, problem }));
    const answer = await client.postReceipt(refusal, signal);
    if (answer.kind === 'unreachable') return answer;
    return answer.status >= 500 ? { message: `the hub answered ${answer.status}` } : null;
  }
}

/** Reading failed: told apart from what dealing with an event throws. */
class CutError extends Error {}

async function* orCut(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (cause) {
    throw new CutError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/** Barks when nothing has come for too long; rests while an event is being dealt with. */
class Watchdog {
  readonly #clock: Clock;
  readonly #bark: () => void;
  readonly #sinceMs: number;
  #lastMs: number | null;

  constructor(clock: Clock, bark: () => void) {
    this.#clock = clock;
    this.#bark = bark;
    this.#sinceMs = clock.monotonicMs();
    this.#lastMs = this.#sinceMs;
  }

  ageMs(): number {
    return this.#clock.monotonicMs() - this.#sinceMs;
  }

  feed(): void {
    this.#lastMs = this.#clock.monotonicMs();
  }

  rest(): void {
    this.#lastMs = null;
  }

  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const silentMs = this.#lastMs === null ? 0 : this.#clock.monotonicMs() - this.#lastMs;
      if (silentMs >= SILENCE_MAX_MS) return this.#bark();
      await this.#clock.sleep(SILENCE_MAX_MS - silentMs, signal);
    }
  }
}
