/**
 * The gate before an op is taken: what it takes too few signatures for is refused with nothing
 * written, and its idempotency key stays free for the envelope that has them all. What is there may
 * be another thing by the op's turn: the lane asks again.
 */
import type { Problem } from './errors.ts';
import { judge, refuseByGate } from './gate.ts';
import type { Guest, GuestConfig, GuestKind } from './guest.ts';
import type { OpRequest } from './intake.ts';
import type { Workroom } from './workroom.ts';

/** So long whoever sent an op waits for PVE to say what is there; after that the lane alone decides. */
const CONFIG_WAIT_MS = 500;

/** With `config` null by what is certain whatever the guest's is. */
export function checkGate(
  { action, origin, signed }: OpRequest,
  guestKind: GuestKind,
  config: GuestConfig | null,
  room: Workroom,
): Problem | null {
  const signatures = signed?.signers.length ?? 0;
  return refuseByGate(action, { origin, signatures, guestKind, config }, room);
}

/** Reads the guest's config before a write that has fewer signatures than the worst would take. */
export async function checkGateWithConfig(
  request: OpRequest,
  guest: Guest,
  room: Workroom,
): Promise<Problem | null> {
  const { action, origin, signed } = request;
  const worst = {
    origin,
    reversibility: 'irreversible',
    signatures: signed?.signers.length ?? 0,
  } as const;
  if (action.kind !== 'set_config' || judge(worst, room.policy).kind === 'pass') return null;
  const config = await readConfig(guest, room);
  return config && checkGate(request, guest.kind, config, room);
}

/** Null where PVE does not say it soon. */
async function readConfig({ vmid, kind }: Guest, room: Workroom): Promise<GuestConfig | null> {
  const over = new AbortController();
  const signal = AbortSignal.any([room.signal, over.signal]);
  const look = {
    guest: { vmid, kind },
    sinceMs: Number.NEGATIVE_INFINITY,
    tasksSinceMs: null,
    config: true,
    details: false,
  };
  try {
    const found = await Promise.race([
      room.guests.look(look, signal),
      room.clock.sleep(CONFIG_WAIT_MS, signal),
    ]);
    if (found?.kind !== 'found' || found.guest.kind !== kind) return null;
    return found.guest.config.kind === 'known' ? found.guest.config.config : null;
  } finally {
    over.abort();
  }
}
