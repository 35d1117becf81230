/**
 * The requests that change a guest. Each is sent once, and every answer becomes a `Submission`:
 * "refused" only where PVE's answer, or the lack of a connection, proves that nothing happened.
 */
import type * as z from 'zod';
import type { Clock } from '../reconcile/clock.ts';
import type { ErrorCode } from '../reconcile/errors.ts';
import type { GuestRef } from '../reconcile/guest.ts';
import type { Upid } from '../reconcile/ids.ts';
import type { SetConfigParams, StopParams } from '../reconcile/op.ts';
import type { Submission } from '../reconcile/ports.ts';
import { submittedChange, submittedTask } from './answers.ts';
import type { PveApi } from './api.ts';
import type { NodeClock } from './node-clock.ts';
import { type PveRequest, writeRequest } from './request.ts';
import { readUpid } from './upid.ts';

/** Most writes are done within milliseconds; what takes longer is followed as a task. */
const BACKGROUND_DELAY_S = 2;
/** Parameters of the request that are no config keys: as a key they would change its meaning. */
const RESERVED_KEYS: ReadonlySet<string> = new Set([
  'background_delay',
  'delete',
  'digest',
  'force',
  'import-working-storage',
  'node',
  'revert',
  'skiplock',
  'vmid',
]);

const DIGEST = /^[0-9a-f]{40}$/;

interface Sent {
  readonly guest: GuestRef;
  readonly schema: z.ZodType<Upid | null>;
  readonly request: PveRequest;
  /** Either all of it is done or nothing. */
  readonly isAtomic: boolean;
}

export class GuestChanges {
  readonly #api: PveApi;
  readonly #nodeClock: NodeClock;
  readonly #clock: Clock;

  constructor(api: PveApi, nodeClock: NodeClock, clock: Clock) {
    this.#api = api;
    this.#nodeClock = nodeClock;
    this.#clock = clock;
  }

  start(guest: GuestRef, signal: AbortSignal): Promise<Submission> {
    const request = this.#power(guest, 'start', {});
    return this.#submit({ guest, schema: submittedTask, request, isAtomic: false }, signal);
  }

  stop(guest: GuestRef, params: StopParams, signal: AbortSignal): Promise<Submission> {
    const request =
      params.mode === 'stop'
        ? this.#power(guest, 'stop', {})
        : this.#power(guest, 'shutdown', {
            timeout: params.timeout_s,
            forceStop: params.force ? 1 : 0,
          });
    return this.#submit({ guest, schema: submittedTask, request, isAtomic: false }, signal);
  }

  /** QEMU writes in a task, LXC within the request (PVE-FACTS 22). */
  async setConfig(
    guest: GuestRef,
    change: SetConfigParams & { readonly digest: string },
    signal: AbortSignal,
  ): Promise<Submission> {
    const keys = [...Object.keys(change.set), ...change.delete];
    const reserved = keys.find((key) => RESERVED_KEYS.has(key) || !/^[\w-]+$/.test(key));
    if (reserved !== undefined) return refuse('invalid_request', `not a config key: ${reserved}`);
    // PVE ignores an empty digest and would overwrite what somebody else wrote (PVE-FACTS 24).
    if (!DIGEST.test(change.digest)) return refuse('digest_stale', 'no digest to write against');
    const body = {
      ...change.set,
      ...(change.delete.length === 0 ? {} : { delete: change.delete.join(',') }),
      digest: change.digest,
    };
    const values = { node: this.#api.node, vmid: guest.vmid };
    const request =
      guest.kind === 'qemu'
        ? writeRequest('POST', '/nodes/{node}/qemu/{vmid}/config', values, {
            ...body,
            background_delay: BACKGROUND_DELAY_S,
          })
        : writeRequest('PUT', '/nodes/{node}/lxc/{vmid}/config', values, body);
    // One key is written or not; of several, some may be (PVE-FACTS 25).
    const isAtomic = keys.length <= 1;
    return this.#submit({ guest, schema: submittedChange, request, isAtomic }, signal);
  }

  #power(guest: GuestRef, action: string, body: Readonly<Record<string, unknown>>): PveRequest {
    const route = `/nodes/{node}/${guest.kind}/{vmid}/status/${action}`;
    return writeRequest('POST', route, { node: this.#api.node, vmid: guest.vmid }, body);
  }

  async #submit(sent: Sent, signal: AbortSignal): Promise<Submission> {
    const { guest, schema, request, isAtomic } = sent;
    const startedMs = this.#clock.now();
    const result = await this.#api.ask(schema, request, signal);
    if (result.kind === 'failure') {
      const isUntouched =
        result.effect === 'none' || (isAtomic && isComplaint(result.problem.code));
      return { kind: isUntouched ? 'refused' : 'unsure', problem: result.problem };
    }
    if (result.value === null) return { kind: 'done' };
    const { startedS, id } = readUpid(result.value);
    if (id !== String(guest.vmid)) {
      const message = `asked for guest ${guest.vmid}, PVE answered with ${result.value}`;
      return { kind: 'unsure', problem: { code: 'service_unavailable', message } };
    }
    this.#nodeClock.learn(startedS, startedMs);
    return { kind: 'task', upid: result.value };
  }
}

function refuse(code: ErrorCode, message: string): Submission {
  return { kind: 'refused', problem: { code, message } };
}

/** PVE did look at the request, and said what is wrong with it. */
function isComplaint(code: ErrorCode): boolean {
  return code === 'invalid_request' || code === 'not_found';
}
