/**
 * The ops that count: those in flight, those kept by an idempotency key, and those just ended.
 * Pure, as the ledger it is a part of. Bounded by ops in flight, unexpired keys and ENDED_KEPT_MAX, and
 * for a minute or so by what gave no answer.
 */
import { requirePresent } from '../reconcile/errors.ts';
import type { OpId } from '../reconcile/ids.ts';
import { isTerminal, type OpRecordDraft } from '../reconcile/op.ts';
import type { KeptKey, OpView } from '../reconcile/ports.ts';
import { areTwins, isUnanswered, UNANSWERED_WINDOW_MS } from '../reconcile/unanswered.ts';
import type { OpRecords, SealedOp } from './op-record.ts';
import { refuseTransition } from './transitions.ts';

/** An idempotency key is kept this much longer than its op may begin (J6). */
const KEY_GRACE_MS = 120_000;
/** Ended ops without a key that are still answered for: somebody may be waiting for them. */
const ENDED_KEPT_MAX = 32;
/** Of these a new segment restates the newest that failed: they may be tried again. */
const FAILED_RESTATED_MAX = 8;
/** So long a request without an answer, and a twin sent while it could still begin, may matter. */
const DOUBT_MS = 2 * UNANSWERED_WINDOW_MS;
/** Beyond this no new op begins, whoever asks: what senders meet is the intake's limit, far below. */
export const OPS_OPEN_MAX = 20_000;
/** A signature is good for a day at most; more keys than this in one are a flood. */
export const KEYS_MAX = 100_000;

/** What a segment restates of ops is one text; a string holds 512 Mi characters at most. */
const RESTATED_CHARS_MAX = 192 * 1024 * 1024;
/** Of an op as a segment restates it, without the values it sets. */
const PLAIN_OP_CHARS = 1500;

/** `rule`: of CONTRACT 5; `limit`: OPS_OPEN_MAX, KEYS_MAX or RESTATED_CHARS_MAX. */
export interface Refusal {
  readonly rule: 'J2' | 'J6' | 'J9' | 'limit';
  readonly message: string;
}

/** An op as folded: its records that count. Whoever asks gets a view of it as it is then. */
interface Story {
  readonly first: SealedOp;
  started: SealedOp | null;
  latest: SealedOp;
}

/**
 * A Map's outgrown tables live until the next full collection, and what they refer to with them:
 * an op that is forgotten is emptied, or most of a long journal would stay in memory.
 */
interface Slot {
  story: Story | null;
}

export class OpBook {
  readonly #ops = new Map<OpId, Slot>();
  readonly #inFlight = new Set<OpId>();
  /** Ended ops that no key keeps, in the order of their ends. */
  readonly #ended = new Set<OpId>();
  /** Ended ops whose request gave no answer. */
  readonly #unanswered = new Set<OpId>();
  readonly #keys = new Map<string, KeptKey>();
  readonly #parts = new Map<OpId, Set<OpId>>();
  /** What restating all of them takes, about. */
  #chars = 0;
  #forgottenToMs = 0;
  /** No key is past its time before this: until then there is nothing to look for. */
  #nextExpiryMs = Number.POSITIVE_INFINITY;

  /** Keys of ops that expired up to then are forgotten: should the clock step back, they are not new. */
  get forgottenToMs(): number {
    return this.#forgottenToMs;
  }

  set forgottenToMs(ms: number) {
    this.#forgottenToMs = ms;
  }

  /** Why this record may not follow, and by which rule, or null. */
  refuse(next: OpRecordDraft, atMs: number): Refusal | null {
    const story = this.#find(next.op_id);
    const fault = refuseTransition(story, next);
    if (fault !== null) return refusal(fault.rule, next, fault.why);
    return story === null ? this.#refuseNew(next, atMs) : null;
  }

  #refuseNew(next: OpRecordDraft, atMs: number): Refusal | null {
    const { idemp_key: key } = next;
    const kept = key === undefined ? null : this.findKey(key, atMs);
    if (kept !== null) return refusal('J6', next, `its idempotency key is that of op ${kept.opId}`);
    if (this.#inFlight.size >= OPS_OPEN_MAX) {
      return refusal('limit', next, `${OPS_OPEN_MAX} ops are in flight already`);
    }
    if (key !== undefined && !this.#hasRoomForKey(atMs)) {
      return refusal('limit', next, `${KEYS_MAX} idempotency keys are kept already`);
    }
    if (this.#chars + restatedChars(next) <= RESTATED_CHARS_MAX) return null;
    return refusal(
      'limit',
      next,
      'what ops in flight and kept ones are to set is too much already',
    );
  }

  #hasRoomForKey(nowMs: number): boolean {
    if (this.#keys.size < KEYS_MAX) return true;
    if (nowMs > this.#nextExpiryMs) this.#forgetKeys(nowMs);
    return this.#keys.size < KEYS_MAX;
  }

  /** Folds a record that `refuse` has nothing against. */
  apply(record: SealedOp): void {
    const known = this.#find(record.op_id);
    const story = known ?? { first: record, started: null, latest: record };
    story.latest = record;
    if (record.state === 'started') story.started = record;
    if (known === null) this.#begin(story);
    if (isTerminal(record.state)) this.#end(story);
    else if (record.attempt > 1) this.#goOn(record.op_id);
  }

  /** Takes over an op as a segment restates it, in place of what was known of it. */
  restore(records: OpRecords): void {
    const [first, ...later] = records;
    const latest = later.at(-1) ?? first;
    const started = records.findLast(({ state }) => state === 'started') ?? null;
    const story = { first, started, latest };
    this.#forget(first.op_id);
    this.#begin(story);
    if (isTerminal(latest.state)) this.#end(story);
  }

  #find(opId: OpId): Story | null {
    return this.#ops.get(opId)?.story ?? null;
  }

  #begin(story: Story): void {
    const { first } = story;
    const { op_id: opId, parent_op_id: parentId } = first;
    this.#ops.set(opId, { story });
    this.#chars += restatedChars(first);
    this.#inFlight.add(opId);
    const { idemp_key: key, payload_hmac: payloadHmac, expires_at_ms: expiresAtMs } = first;
    if (key !== undefined && payloadHmac !== undefined && expiresAtMs !== undefined) {
      this.#keys.set(key, { opId, payloadHmac, expiresAtMs });
      this.#nextExpiryMs = Math.min(this.#nextExpiryMs, expiresAtMs + KEY_GRACE_MS);
    }
    if (parentId === undefined) return;
    const parts = this.#parts.get(parentId);
    if (parts === undefined) this.#parts.set(parentId, new Set([opId]));
    else parts.add(opId);
  }

  #end({ first, latest }: Story): void {
    this.#inFlight.delete(first.op_id);
    if (first.idemp_key === undefined) this.#ended.add(first.op_id);
    if (isUnanswered(latest)) this.#unanswered.add(first.op_id);
    let surplus = this.#ended.size - ENDED_KEPT_MAX;
    for (const opId of this.#ended) {
      if (surplus <= 0) return;
      surplus -= 1;
      if (!this.#isNeeded(opId, () => Date.parse(latest.at))) this.#forget(opId);
    }
  }

  /** A failed op that is tried again. */
  #goOn(opId: OpId): void {
    this.#ended.delete(opId);
    this.#unanswered.delete(opId);
    this.#inFlight.add(opId);
  }

  /** A composite op in flight is settled from its parts; what may still begin is waited for. */
  #isNeeded(opId: OpId, now: () => number): boolean {
    const story = this.#find(opId);
    const parent = story?.first.parent_op_id;
    if (parent !== undefined && this.#inFlight.has(parent)) return true;
    return story !== null && this.#unanswered.size > 0 && this.#isInDoubt(story, now());
  }

  #isInDoubt({ started, latest }: Story, nowMs: number): boolean {
    if (started === null || Date.parse(started.at) + DOUBT_MS <= nowMs) return false;
    return this.#stories(this.#unanswered).some((other) => areTwins(other.latest, latest));
  }

  #forget(opId: OpId): void {
    const slot = this.#ops.get(opId);
    const first = slot?.story?.first;
    if (slot === undefined || first === undefined) return;
    slot.story = null;
    this.#ops.delete(opId);
    this.#chars -= restatedChars(first);
    this.#ended.delete(opId);
    this.#unanswered.delete(opId);
    const { parent_op_id: parentId } = first;
    if (parentId === undefined) return;
    const parts = this.#parts.get(parentId);
    parts?.delete(opId);
    if (parts?.size === 0) this.#parts.delete(parentId);
  }

  /** An op whose key is past its time; by now the key may be another op's, past its time too. */
  #forgetKeyed(opId: OpId, key: string): void {
    const kept = this.#keys.get(key);
    if (kept?.opId === opId) {
      this.#keys.delete(key);
      this.#forgottenToMs = Math.max(this.#forgottenToMs, kept.expiresAtMs);
    }
    this.#forget(opId);
  }

  /** Forgets what nobody may ask for any more, and what a new segment does not restate. */
  forgetPast(nowMs: number): void {
    this.#forgetKeys(nowMs);
    let failed = 0;
    for (const opId of [...this.#ended].toReversed()) {
      if (this.#isNeeded(opId, () => nowMs)) continue;
      const latest = this.#find(opId)?.latest;
      const mayBeTried = latest?.state === 'failed' && latest.attempt > 0;
      if (mayBeTried) failed += 1;
      if (!mayBeTried || failed > FAILED_RESTATED_MAX) this.#forget(opId);
    }
  }

  #forgetKeys(nowMs: number): void {
    this.#nextExpiryMs = Number.POSITIVE_INFINITY;
    for (const [opId, { story }] of this.#ops) {
      const key = story?.first.idemp_key;
      if (key === undefined || this.#inFlight.has(opId)) continue;
      const kept = this.findKey(key, nowMs);
      if (kept === null) this.#forgetKeyed(opId, key);
      else this.#nextExpiryMs = Math.min(this.#nextExpiryMs, kept.expiresAtMs + KEY_GRACE_MS);
    }
  }

  /** The records that count of each op; ended ones last and in the order in which they go. */
  restate(): readonly OpRecords[] {
    const others = [...this.#ops.keys()].filter((opId) => !this.#ended.has(opId));
    return this.#stories([...others, ...this.#ended]).map(({ first, started, latest }) => {
      const later = new Set([...(started === null ? [] : [started]), latest]);
      later.delete(first);
      return [first, ...later];
    });
  }

  #stories(opIds: Iterable<OpId>): Story[] {
    return [...opIds].map((opId) => requirePresent(this.#find(opId), `op ${opId}`));
  }

  get inFlightCount(): number {
    return this.#inFlight.size;
  }

  inFlight(): readonly OpView[] {
    return viewsOf(this.#stories(this.#inFlight));
  }

  /** Of those that a key keeps the ones without an answer alone. */
  ended(): readonly OpView[] {
    return viewsOf(this.#stories(new Set([...this.#ended, ...this.#unanswered])));
  }

  find(opId: OpId): OpView | null {
    const story = this.#find(opId);
    return story && viewOf(story);
  }

  childrenOf(opId: OpId): readonly OpView[] {
    return viewsOf(this.#stories(this.#parts.get(opId) ?? []));
  }

  /** Null also when the key is past its time, though it may still be remembered. */
  findKey(key: string, nowMs: number): KeptKey | null {
    const kept = this.#keys.get(key);
    if (kept === undefined) return null;
    const isKept = nowMs <= kept.expiresAtMs + KEY_GRACE_MS || this.#inFlight.has(kept.opId);
    return isKept ? kept : null;
  }
}

/** Up to three records, each with what it sets, or with what was there. */
function restatedChars({ params }: OpRecordDraft): number {
  const isPlain = params === undefined || !('set' in params);
  return PLAIN_OP_CHARS + (isPlain ? 0 : 3 * JSON.stringify(params).length);
}

function refusal(rule: Refusal['rule'], { op_id: opId }: OpRecordDraft, why: string): Refusal {
  return { rule, message: `op ${opId}: ${why}` };
}

/** Oldest first. */
function viewsOf(stories: readonly Story[]): readonly OpView[] {
  return stories.toSorted((a, b) => a.first.seq - b.first.seq).map(viewOf);
}

function viewOf({ first, started, latest }: Story): OpView {
  return {
    opId: first.op_id,
    first,
    started,
    latest,
    startedAtMs: started === null ? null : Date.parse(started.at),
    latestAtMs: Date.parse(latest.at),
  };
}
