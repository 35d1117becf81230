/**
 * Lanes: one FIFO per guest, and a node-wide limit of ops at work.
 *
 * - Jobs of one guest run one at a time, in the order they were added.
 * - At most one reconcile entry per guest waits; a newer one takes its place in the line.
 * - Signed and operator ops are never dropped and never reordered.
 * - A lane that is empty is gone.
 * - Jobs never reject.
 *
 * p-queue's own `timeout` is not used: it would free the slot while the work still runs.
 */
import PQueue from 'p-queue';
import type { Vmid } from './ids.ts';

/** More than a person or a hub has reason to queue on one guest; beyond it: `queue_full`. */
export const QUEUED_PER_LANE_MAX = 32;
/** Well above any node's guests; a bound on memory, not on use. */
export const LANES_MAX = 10_000;

type Job = () => Promise<void>;

interface Lane {
  readonly queue: PQueue;
  /** The newest reconcile entry that has not begun. */
  waitingReconcile: Job | null;
}

export interface Lanes {
  /** Adds an op's job, whatever waits already: who admits ops asks `hasRoom` first. */
  add(vmid: Vmid, job: Job): void;
  /** Adds or replaces the guest's waiting reconcile entry. */
  offerReconcile(vmid: Vmid, job: Job): void;
  /** Room for one more op? */
  hasRoom(vmid: Vmid): boolean;
  /** Runs with one of the node's slots, handed out in the order of asking. */
  withSlot<Result>(run: () => Promise<Result>): Promise<Result>;
  /** For who has a slot: gives it up for a wait, and takes one again behind those who ask meanwhile. */
  withoutSlot(wait: () => Promise<unknown>): Promise<void>;
  /** Does who asks for a slot now have to wait for it? */
  isBusy(): boolean;
  /** Resolves when no lane, or none of these guests', has work. */
  idle(vmids?: ReadonlySet<Vmid>): Promise<void>;
  /** Jobs that wait or run, by guest. */
  depths(): ReadonlyMap<Vmid, number>;
}

export function createLanes(options: { readonly maxParallel: number }): Lanes {
  const lanes = new Map<Vmid, Lane>();
  const slots = new PQueue({ concurrency: options.maxParallel });

  function laneOf(vmid: Vmid): Lane {
    const known = lanes.get(vmid);
    if (known !== undefined) return known;
    const lane: Lane = { queue: new PQueue({ concurrency: 1 }), waitingReconcile: null };
    lanes.set(vmid, lane);
    return lane;
  }

  /** The last job out closes the lane; what is added later opens a new one. */
  function enqueue(vmid: Vmid, lane: Lane, job: Job): void {
    void lane.queue.add(async () => {
      await job();
      if (lane.queue.size === 0) lanes.delete(vmid);
    });
  }

  function hasRoom(vmid: Vmid): boolean {
    const lane = lanes.get(vmid);
    return lane === undefined ? lanes.size < LANES_MAX : lane.queue.size < QUEUED_PER_LANE_MAX;
  }

  function offerReconcile(vmid: Vmid, job: Job): void {
    if (!lanes.has(vmid) && lanes.size >= LANES_MAX) return; // the next pass offers it again
    const lane = laneOf(vmid);
    const isQueued = lane.waitingReconcile !== null;
    lane.waitingReconcile = job;
    if (isQueued) return;
    enqueue(vmid, lane, async () => {
      const newest = lane.waitingReconcile;
      lane.waitingReconcile = null;
      await newest?.();
    });
  }

  async function idle(vmids?: ReadonlySet<Vmid>): Promise<void> {
    for (;;) {
      const busy = [...lanes].filter(([vmid]) => vmids?.has(vmid) ?? true);
      if (busy.length === 0) return;
      await Promise.all(busy.map(([, { queue }]) => queue.onIdle()));
    }
  }

  /** Its job goes on counting as one at work: that makes room for one more, until it has its turn. */
  async function withoutSlot(wait: () => Promise<unknown>): Promise<void> {
    slots.concurrency += 1;
    try {
      await wait();
    } finally {
      await slots.add(async () => {
        slots.concurrency -= 1;
      });
    }
  }

  return {
    add: (vmid, job) => enqueue(vmid, laneOf(vmid), job),
    offerReconcile,
    hasRoom,
    withSlot: (run) => slots.add(run),
    withoutSlot,
    isBusy: () => slots.pending >= slots.concurrency,
    idle,
    depths: () =>
      new Map([...lanes].map(([vmid, { queue }]) => [vmid, queue.size + queue.pending])),
  };
}
