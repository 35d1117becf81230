/**
 * Several providers as one. A vmid that more than one document claims is nobody's: it is taken
 * out of the guests and every claimant is named (CONTRACT 3); the rest goes on.
 */
import type { DesiredGuest, DesiredState, RejectedDocument } from '../../reconcile/desired.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import type { DesiredProvider } from '../../reconcile/ports.ts';

export function createCompositeProvider(providers: readonly DesiredProvider[]): DesiredProvider {
  return {
    async read(signal) {
      return mergeDesired(await Promise.all(providers.map((provider) => provider.read(signal))));
    },
    onChange(listener) {
      const stops = providers.map((provider) => provider.onChange(listener));
      return () => {
        for (const stop of stops) stop();
      };
    },
    async close() {
      await Promise.all(providers.map((provider) => provider.close()));
    },
  };
}

/** Pure, and associative: parts may be merged results themselves. */
export function mergeDesired(parts: readonly DesiredState[]): DesiredState {
  const [only] = parts;
  if (only !== undefined && parts.length === 1) return only;
  const guests = new Map<Vmid, DesiredGuest>();
  const claims = new Map<Vmid, string[]>();
  const rejected: RejectedDocument[] = [];
  const claim = (vmid: Vmid, sources: readonly string[]): void => {
    claims.set(vmid, [...(claims.get(vmid) ?? []), ...sources]);
  };
  for (const part of parts) {
    for (const [vmid, guest] of part.guests) {
      claim(vmid, [guest.source]);
      guests.set(vmid, guest);
    }
    for (const [vmid, sources] of part.claimedTwice) claim(vmid, sources);
    rejected.push(...part.rejected);
  }
  const claimedTwice = new Map<Vmid, readonly string[]>();
  for (const [vmid, sources] of claims) {
    if (sources.length < 2) continue;
    claimedTwice.set(vmid, sources);
    guests.delete(vmid);
  }
  return { guests, claimedTwice, rejected };
}
