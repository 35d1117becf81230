/** What somebody did on the recorded host between the steps: by hand, without the API. */
import type { z } from 'zod';
import { turnOff } from './power.ts';
import { type Principal, ROOT } from './principal.ts';
import type { Replay } from './replay-run.ts';
import { type behaviourFields, behaviourOf } from './world.ts';

export type Hand = (replay: Replay) => Promise<void> | void;

export function steps(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

export const running = { running: true };

/** Somebody on the host, without a task. */
export const stopByHand =
  (vmid: number): Hand =>
  ({ node }) => {
    const guest = node.guests.get(vmid);
    if (guest !== undefined) turnOff(guest);
  };

export const startByHand =
  (vmid: number): Hand =>
  ({ node }) => {
    const guest = node.guests.get(vmid);
    if (guest !== undefined) node.setRunning(guest);
  };

/** null: the option is taken out. */
export const editByHand =
  (vmid: number, values: Readonly<Record<string, string | null>>): Hand =>
  ({ node }) => {
    const config = node.guests.get(vmid)?.config;
    for (const [key, value] of Object.entries(values)) {
      if (value === null) config?.current.delete(key);
      else config?.current.set(key, value);
    }
    config?.touch();
  };

export const lockByHand =
  (vmid: number, lock: string): Hand =>
  ({ node }) => {
    const config = node.guests.get(vmid)?.config;
    config?.current.set('lock', lock);
    config?.touch();
  };

export const behave =
  (vmid: number, how: z.infer<z.ZodObject<typeof behaviourFields>>): Hand =>
  ({ node }) => {
    const guest = node.guests.get(vmid);
    if (guest !== undefined) guest.behaviour = behaviourOf(guest.behaviour, how);
  };

export const both =
  (...hands: readonly Hand[]): Hand =>
  async (replay) => {
    for (const hand of hands) await hand(replay);
  };

export const later =
  (byMs: number): Hand =>
  ({ ticker }) =>
    ticker.advance(byMs);

export const EARLIER_TASKS = (step: number) => ({
  steps: [step],
  why: 'tasks of the minutes before are in the list',
});

export const AGENT: Principal = { ...ROOT, user: 'agent@pve', tokenId: 'agent', isRoot: false };
export const LAB: Principal = { ...ROOT, tokenId: 'lab', isRoot: false };
