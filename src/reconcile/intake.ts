/**
 * The one way in for a hub's and an operator's op. In this order: key, gate, guest, parameters, gate
 * by what is there, desired state, room in the lane; nothing is written before all have passed. `received` is
 * durable before the caller hears yes (J1).
 *
 * A key is reserved in memory from the first check to its durable record, so that two senders at
 * the same moment are one op (J6).
 */
import { findContradiction } from './contradiction.ts';
import type { DesiredGuest } from './desired.ts';
import { type Problem, ReconcilerError, toProblem } from './errors.ts';
import type { Guest, GuestKind } from './guest.ts';
import { type CorrelationId, makeCorrelationId, makeOpId, type OpId, type Vmid } from './ids.ts';
import { checkGate, checkGateWithConfig } from './intake-gate.ts';
import type { Action, OpOrigin, OpRecord, OpRecordDraft, OpSigner } from './op.ts';
import type { Workroom } from './workroom.ts';

/** An operator who asked ten minutes ago has gone to look for another way. */
export const OPERATOR_OP_LIFETIME_MS = 10 * 60_000;
/** How far a signer's clock and ours may be apart (CONTRACT 7). */
export const CLOCK_SKEW_MS = 60_000;
/** Received ops that wait; far more than people or hubs queue, a bound on memory. */
export const OPS_IN_FLIGHT_MAX = 4_096;

export interface OpRequest {
  readonly origin: Exclude<OpOrigin, 'reconcile'>;
  readonly vmid: Vmid;
  readonly action: Action;
  readonly actor?: string;
  readonly correlationId?: CorrelationId;
  /** How long reconciling leaves the guest alone after it, ms. */
  readonly holdMs?: number;
  readonly precondition?: NonNullable<OpRecordDraft['precondition']>;
  /** For a hub's op. */
  readonly signed?: SignedPart;
}

/** What an envelope proved. */
export interface SignedPart {
  readonly idempKey: string;
  readonly payloadHmac: string;
  readonly expiresAtMs: number;
  readonly signers: readonly OpSigner[];
}

export type SubmitResult =
  | { readonly kind: 'accepted'; readonly record: OpRecord }
  /** The same key and payload came before: that op, whatever became of it. */
  | { readonly kind: 'repeat'; readonly opId: OpId }
  | { readonly kind: 'refused'; readonly problem: Problem };

export interface IntakePorts {
  readonly room: Workroom;
  /** The guest as last seen, or looked for now if it was not. */
  findGuest(vmid: Vmid): Promise<Guest | Problem>;
  /** Gives the op its place in its lane; it runs when it is known to be durable. */
  enqueue(vmid: Vmid, opId: OpId, received: Promise<void>): void;
}

export class Intake {
  readonly #ports: IntakePorts;
  readonly #reserved = new Map<string, Promise<SubmitResult>>();
  /** Ops on one guest are judged in the order in which they come, so that none overtakes another. */
  readonly #judging = new Map<Vmid, Promise<Judgement>>();

  constructor(ports: IntakePorts) {
    this.#ports = ports;
  }

  async submit(request: OpRequest): Promise<SubmitResult> {
    if (this.#ports.room.signal.aborted) return { kind: 'refused', problem: STOPPING };
    const { signed } = request;
    if (signed === undefined) return this.#admit(request);
    const key = signed.idempKey;
    // Whoever holds the key is answered first; the others then find its record.
    const earlier = this.#reserved.get(key);
    if (earlier !== undefined) {
      await earlier;
      return this.submit(request);
    }
    const result = this.#answer(request, signed);
    this.#reserved.set(key, result);
    try {
      const answer = await result;
      this.#reserved.delete(key);
      return answer;
    } catch (error) {
      // After a failed write the op is in memory only: no repeat may be told of it (J1).
      if (!isHalting(error)) this.#reserved.delete(key);
      throw error;
    }
  }

  async #answer(request: OpRequest, signed: SignedPart): Promise<SubmitResult> {
    return (
      answerRepeat(signed, this.#ports) ??
      refuseExpired(signed, this.#ports) ??
      this.#admit(request)
    );
  }

  async #admit(request: OpRequest): Promise<SubmitResult> {
    const judged = judgeAfter(this.#judging.get(request.vmid), request, this.#ports);
    this.#judging.set(request.vmid, judged);
    let judgement: Judgement;
    try {
      judgement = await judged;
    } finally {
      if (this.#judging.get(request.vmid) === judged) this.#judging.delete(request.vmid);
    }
    if ('code' in judgement) return { kind: 'refused', problem: judgement };
    try {
      const record = await receive(request, judgement.guestKind, this.#ports);
      return { kind: 'accepted', record };
    } catch (error) {
      // The journal takes no op this long, or not one more: nothing was written.
      if (error instanceof ReconcilerError && error.disposition === 'reject') {
        return { kind: 'refused', problem: toProblem(error) };
      }
      throw error;
    }
  }
}

const STOPPING: Problem = { code: 'service_unavailable', message: 'the agent is stopping' };

type Judgement = Problem | { readonly guestKind: GuestKind };

async function judgeAfter(
  before: Promise<unknown> | undefined,
  request: OpRequest,
  ports: IntakePorts,
): Promise<Judgement> {
  // Looked at side by side: PVE may take its time. How the one before was judged is told to its sender.
  const [examined] = await Promise.all([examine(request, ports), before?.catch(() => undefined)]);
  return 'code' in examined ? examined : decide(request, examined, ports.room);
}

function isHalting(error: unknown): boolean {
  return error instanceof ReconcilerError && error.disposition === 'halt';
}

function refused(code: Problem['code'], message: string): SubmitResult {
  return { kind: 'refused', problem: { code, message } };
}

function answerRepeat(signed: SignedPart, { room }: IntakePorts): SubmitResult | null {
  const kept = room.ledger.findKey(signed.idempKey);
  if (kept === null) return null;
  return kept.payloadHmac === signed.payloadHmac
    ? { kind: 'repeat', opId: kept.opId }
    : refused('idemp_key_reused', `the key ${signed.idempKey} belongs to op ${kept.opId}`);
}

/** It may have waited for the first of its key so long that nobody remembers that one any more. */
function refuseExpired({ expiresAtMs }: SignedPart, { room }: IntakePorts): SubmitResult | null {
  if (room.clock.now() <= expiresAtMs + CLOCK_SKEW_MS) return null;
  return refused('expired', 'it has expired');
}

interface Examined {
  readonly guest: Guest;
  readonly wanted: DesiredGuest | null;
}

/** What takes a look. */
async function examine(request: OpRequest, ports: IntakePorts): Promise<Problem | Examined> {
  const { room } = ports;
  const { vmid } = request;
  // Before the guest is known: refused is what is too much for a guest of either kind.
  const gate = checkGate(request, 'qemu', null, room) && checkGate(request, 'lxc', null, room);
  if (gate !== null) return gate;
  const [guest, wanted] = await Promise.all([ports.findGuest(vmid), room.findWanted(vmid)]);
  if ('code' in guest) return guest;
  const problem =
    checkGate(request, guest.kind, null, room) ??
    checkParams(request, guest.kind, room) ??
    (await checkGateWithConfig(request, guest, room));
  return problem ?? { guest, wanted };
}

/** At once, and in one breath with what takes the op its place in the lane. */
function decide(request: OpRequest, { guest, wanted }: Examined, room: Workroom): Judgement {
  const problem = findContradiction(request, wanted, guest, room);
  if (problem !== null) return problem;
  // Lanes that have been stopped take nothing and have room for ever.
  if (room.signal.aborted) return STOPPING;
  if (room.lanes.hasRoom(request.vmid) && room.ledger.inFlightCount() < OPS_IN_FLIGHT_MAX) {
    return { guestKind: guest.kind };
  }
  const message = 'too many ops wait already; try again when some have ended';
  return { code: 'queue_full', message };
}

function checkParams({ action }: OpRequest, kind: GuestKind, room: Workroom): Problem | null {
  if (action.kind !== 'set_config') return null;
  const { params } = action;
  const keys = [...Object.keys(params.set), ...params.delete];
  if (keys.length === 0) return { code: 'invalid_request', message: 'set_config names no key' };
  for (const key of keys) {
    if (room.semantics.isWriteOnly(kind, key)) {
      const message = `${key}: a secret is set by desired state only, it would stand in the journal`;
      return { code: 'invalid_request', message };
    }
  }
  for (const [key, value] of Object.entries(params.set)) {
    const why = room.semantics.refusal(kind, key, value);
    if (why !== null) return { code: 'invalid_request', message: `${key}: ${why}` };
  }
  return null;
}

/** Accepted ops run in the order in which they were accepted, whatever their records wait for. */
async function receive(
  request: OpRequest,
  guestKind: GuestKind,
  ports: IntakePorts,
): Promise<OpRecord> {
  const { room } = ports;
  const opId = makeOpId(room.random);
  const received = Promise.withResolvers<void>();
  ports.enqueue(request.vmid, opId, received.promise);
  try {
    return await room.record(toReceived(request, opId, guestKind, room));
  } finally {
    received.resolve();
  }
}

function toReceived(
  request: OpRequest,
  opId: OpId,
  guestKind: GuestKind,
  room: Workroom,
): OpRecordDraft {
  const nowMs = room.clock.now();
  const { signed, holdMs, actor, precondition } = request;
  return {
    op_id: opId,
    vmid: request.vmid,
    guest_kind: guestKind,
    kind: request.action.kind,
    state: 'received',
    attempt: 0,
    origin: request.origin,
    params: request.action.params,
    correlation_id: request.correlationId ?? makeCorrelationId(room.random),
    expires_at_ms: signed?.expiresAtMs ?? nowMs + OPERATOR_OP_LIFETIME_MS,
    ...(actor === undefined ? {} : { actor }),
    ...(precondition === undefined ? {} : { precondition }),
    ...(holdMs === undefined ? {} : { hold_ms: holdMs }),
    ...(signed === undefined
      ? {}
      : { idemp_key: signed.idempKey, payload_hmac: signed.payloadHmac, signers: signed.signers }),
  };
}
