/**
 * Stands between the engine and two of its ports and remembers what last came through: what was
 * wanted, what was there, and so what could not be read. It changes nothing.
 */
import type { DesiredState } from '../../reconcile/desired.ts';
import type { Problem } from '../../reconcile/errors.ts';
import type { ActualState } from '../../reconcile/guest.ts';
import type { DesiredProvider, GuestApi } from '../../reconcile/ports.ts';

export interface LastLook {
  readonly guests: GuestApi;
  readonly desiredProvider: DesiredProvider;
  /** Null until the first read. */
  readonly desired: DesiredState | null;
  readonly actual: ActualState | null;
}

export function rememberLooks(ports: {
  readonly guests: GuestApi;
  readonly desired: DesiredProvider;
}): LastLook {
  let desired: DesiredState | null = null;
  let actual: ActualState | null = null;
  return {
    guests: {
      ...ports.guests,
      async observe(request, signal) {
        actual = await ports.guests.observe(request, signal);
        return actual;
      },
    },
    desiredProvider: {
      ...ports.desired,
      async read(signal) {
        desired = await ports.desired.read(signal);
        return desired;
      },
    },
    get desired() {
      return desired;
    },
    get actual() {
      return actual;
    },
  };
}

/** Why nothing at all could be seen of the node's guests; null: something could. */
export function blindness(actual: ActualState | null): Problem | null {
  if (actual === null || actual.qemu.kind === 'complete' || actual.lxc.kind === 'complete') {
    return null;
  }
  return actual.qemu.problem;
}

/** Every document problem and double claim, as `desired_invalid`. */
export function desiredProblems(desired: DesiredState | null): Problem[] {
  if (desired === null) return [];
  const claims = [...desired.claimedTwice].map(
    ([vmid, sources]): Problem => ({
      code: 'desired_invalid',
      message: `guest ${vmid} is claimed by ${sources.join(' and ')}: it is left alone`,
    }),
  );
  return [...desired.rejected.map(({ problem }) => problem), ...claims];
}
