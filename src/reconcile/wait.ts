/** Every wait of a lane: shown with its reason and its end, cut short when the agent stops. */
import type { Wait } from './events.ts';
import type { Vmid } from './ids.ts';
import type { Workroom } from './workroom.ts';

/** Rejects with the engine's reason when it stops; `cancel` only cuts the wait short. */
export async function waitShown(
  vmid: Vmid,
  reason: Omit<Wait, 'untilMs'>,
  ms: number,
  room: Workroom,
  cancel?: AbortSignal,
): Promise<void> {
  room.showWait(vmid, { ...reason, untilMs: room.clock.now() + ms });
  const signal = cancel === undefined ? room.signal : AbortSignal.any([room.signal, cancel]);
  await room.clock.sleep(ms, signal);
  room.signal.throwIfAborted();
}

/** Waits, shown, for one of the node's slots, and runs with it. */
export async function withSlot<Result>(
  vmid: Vmid,
  room: Workroom,
  run: () => Promise<Result>,
): Promise<Result> {
  const isBusy = room.lanes.isBusy();
  if (isBusy) {
    const message = `waits for one of the ${room.policy.maxParallel} slots of this node`;
    room.showWait(vmid, { code: 'node_busy', message, untilMs: null });
  }
  return room.lanes.withSlot(() => {
    room.signal.throwIfAborted();
    if (isBusy) room.showWait(vmid, null);
    return run();
  });
}
