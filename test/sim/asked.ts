/**
 * The hub and the operators: what they ask for, what they were told, and what must come of it. The
 * hub sends an op again with the same key until long after it was answered.
 */

import { parseVmid } from '../../src/reconcile/ids.ts';
import { CLOCK_SKEW_MS, type OpRequest, type SubmitResult } from '../../src/reconcile/intake.ts';
import { isTerminal, type OpRecord } from '../../src/reconcile/op.ts';
import type { SimEvent } from './script.ts';
import type { SimWorld } from './sim-world.ts';

/** 32 that wait, and the one at work. */
const LANE_MAX = 33;
const UNABORTED = new AbortController().signal;
const SIGNERS = [{ keyid: 'hub-1', key_sha256: '1'.repeat(64) }];

type HubEvent = Extract<SimEvent, { kind: 'hub' }>;
type OperatorEvent = Extract<SimEvent, { kind: 'operator' }>;

export class Asked {
  readonly #world: SimWorld;
  readonly #acknowledged = new Set<string>();
  /** By key, the op it was said to be. */
  readonly #keys = new Map<string, string>();
  /** All that was asked: guest, kind and parameters. */
  readonly #askings = new Set<string>();

  constructor(world: SimWorld) {
    this.#world = world;
  }

  /** Has anybody asked for such an op? */
  has({ vmid, kind, params }: OpRecord): boolean {
    return this.#askings.has(JSON.stringify([vmid, kind, params]));
  }

  #request(event: HubEvent | OperatorEvent): OpRequest | null {
    const vmid = parseVmid(event.vmid);
    if (vmid === null) return null;
    const { action, holdMs } = event;
    this.#askings.add(JSON.stringify([vmid, action.kind, action.params]));
    return {
      origin: event.kind,
      vmid,
      action,
      ...(holdMs === undefined ? {} : { holdMs }),
    };
  }

  async hub(event: HubEvent): Promise<void> {
    const { clock } = this.#world;
    const request = this.#request(event);
    if (request === null) return;
    const { key, lifeMs, againMs } = event;
    const issuedAtMs = clock.now();
    const signed = {
      idempKey: key,
      payloadHmac: Buffer.from(key).toString('hex').padEnd(64, '0'),
      expiresAtMs: issuedAtMs + lifeMs,
      signers: SIGNERS,
    };
    this.#sendSigned({ ...request, signed }, issuedAtMs);
    for (const pauseMs of againMs) {
      await clock.sleep(pauseMs, UNABORTED);
      if (this.#world.isOver) return;
      this.#sendSigned({ ...request, signed }, issuedAtMs);
    }
  }

  /** What the agent's intake of envelopes lets through goes to the engine. */
  #sendSigned(request: OpRequest & Required<Pick<OpRequest, 'signed'>>, issuedAtMs: number): void {
    const { running } = this.#world.agent;
    if (running === null) return;
    const { engine, journal, clockGuard } = running;
    const nowMs = this.#world.clock.now();
    const { expiresAtMs, idempKey } = request.signed;
    if (clockGuard.objection() !== null) return;
    if (nowMs > expiresAtMs + CLOCK_SKEW_MS || expiresAtMs <= journal.hub().forgottenToMs) return;
    if (nowMs < issuedAtMs - CLOCK_SKEW_MS) return;
    this.#listen(engine.submit(request), idempKey);
  }

  operator(event: OperatorEvent): void {
    const { running } = this.#world.agent;
    const request = this.#request(event);
    if (running === null || request === null) return;
    for (let count = 0; count < event.times; count++) this.#listen(running.engine.submit(request));
    this.#checkRoom();
  }

  /** A life that has ended answers nobody. */
  #listen(answer: Promise<SubmitResult>, key?: string): void {
    const heed = async (): Promise<void> => {
      const result = await answer.catch(() => null);
      if (result === null || result.kind === 'refused') return;
      const opId = result.kind === 'accepted' ? result.record.op_id : result.opId;
      this.#acknowledged.add(opId);
      this.#checkRoom();
      if (key === undefined) return;
      const known = this.#keys.get(key);
      this.#keys.set(key, opId);
      if (known === undefined || known === opId) return;
      const message = `${key} was ${known} and is ${opId}`;
      this.#world.verdicts.fail('key_succeeds_at_most_once', message);
    };
    void heed();
  }

  /** A lane takes no more than it says (lanes.ts). */
  #checkRoom(): void {
    const { agent, verdicts } = this.#world;
    const waiting = agent.running?.ledger.opsInFlight() ?? [];
    for (const [vmid, ops] of Map.groupBy(waiting, ({ first }) => first.vmid)) {
      const received = ops.filter(({ latest }) => latest.state === 'received').length;
      if (received <= LANE_MAX) continue;
      verdicts.fail('memory_and_lanes_are_bounded', `${received} ops wait for ${vmid}`);
    }
  }

  checkAcknowledged(records: readonly OpRecord[]): void {
    const there = new Set<string>(records.map(({ op_id: opId }) => opId));
    for (const opId of this.#acknowledged) {
      if (there.has(opId)) continue;
      this.#world.verdicts.fail('acknowledged_op_is_never_lost', `${opId} is not in the journal`);
    }
  }

  /** In the end each of them has ended. */
  checkEnded(records: readonly OpRecord[]): void {
    const last = new Map<string, OpRecord>(records.map((record) => [record.op_id, record]));
    for (const opId of this.#acknowledged) {
      const record = last.get(opId);
      if (record !== undefined && isTerminal(record.state)) continue;
      const message = `${opId} has not ended: ${record?.state}`;
      this.#world.verdicts.fail('acknowledged_op_is_never_lost', message);
    }
  }
}
