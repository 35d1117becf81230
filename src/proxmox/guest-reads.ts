/** Reads of one guest, and of the cluster's guests. Nothing here is shared or remembered. */
import type { Clock } from '../reconcile/clock.ts';
import type { ConfigLook, Guest, GuestRef } from '../reconcile/guest.ts';
import type { Vmid } from '../reconcile/ids.ts';
import { type ClusterGuest, clusterGuests, guestRow, pendingRows } from './answers.ts';
import type { PveApi, Result } from './api.ts';
import { readConfig, readGuest } from './guest-values.ts';
import { readRequest } from './request.ts';

export class GuestReads {
  readonly #api: PveApi;
  readonly #clock: Clock;

  constructor(api: PveApi, clock: Clock) {
    this.#api = api;
    this.#clock = clock;
  }

  /** The guest's own status: with HA and the qmp status. */
  async details(ref: GuestRef, signal: AbortSignal): Promise<Result<Guest>> {
    const route = `/nodes/{node}/${ref.kind}/{vmid}/status/current`;
    const request = readRequest(route, { node: this.#api.node, vmid: ref.vmid });
    let beganMs = this.#clock.now();
    const result = await this.#api.ask(guestRow, request, signal, () => {
      beganMs = this.#clock.now();
    });
    if (result.kind === 'failure') return result;
    const atMs = middle(beganMs, this.#clock.now());
    return { kind: 'value', value: readGuest(ref.kind, result.value, atMs), total: 1 };
  }

  async config(ref: GuestRef, signal: AbortSignal): Promise<ConfigLook> {
    const route = `/nodes/{node}/${ref.kind}/{vmid}/pending`;
    const request = readRequest(route, { node: this.#api.node, vmid: ref.vmid });
    const result = await this.#api.ask(pendingRows, request, signal);
    return result.kind === 'failure'
      ? { kind: 'unknown', problem: result.problem }
      : readConfig(result.value, this.#clock.now());
  }

  /** All guests of the cluster that the token may see, on whichever node; their state is late. */
  cluster(signal: AbortSignal): Promise<Result<readonly ClusterGuest[]>> {
    const request = readRequest('/cluster/resources', {}, { type: 'vm' });
    return this.#api.ask<readonly ClusterGuest[]>(clusterGuests, request, signal);
  }
}

/** When the node looked, as near as can be told: an uptime counts from there. */
export function middle(beganMs: number, endedMs: number): number {
  return Math.round((beganMs + endedMs) / 2);
}

/** Null: on no node. */
export function findNode(guests: readonly ClusterGuest[], vmid: Vmid): string | null {
  return guests.find((guest) => guest.vmid === vmid)?.node ?? null;
}
