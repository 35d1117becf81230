/**
 * Stands between the engine and two of its ports and remembers what last came through: what was
 * wanted, what was there, and so what could not be read. It changes nothing.
 */
import type { DesiredState, RejectedDocument } from '../../reconcile/desired.ts';
import type { ErrorCode, Problem } from '../../reconcile/errors.ts';
import type { ActualState, Guest } from '../../reconcile/guest.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import type { DesiredProvider, GuestApi } from '../../reconcile/ports.ts';
import type { Config } from '../config/config.ts';

export interface LastLook {
  readonly guests: GuestApi;
  readonly desiredProvider: DesiredProvider;
  /** Null until the first read. */
  readonly desired: DesiredState | null;
  readonly actual: ActualState | null;
  /** Each guest as it was last seen: it leaves when a whole list shows that it is not there. */
  readonly known: ReadonlyMap<Vmid, Guest>;
}

export function rememberLooks(ports: {
  readonly guests: GuestApi;
  readonly desired: DesiredProvider;
}): LastLook {
  let desired: DesiredState | null = null;
  let actual: ActualState | null = null;
  let known: ReadonlyMap<Vmid, Guest> = new Map();
  return {
    guests: {
      ...ports.guests,
      async observe(request, signal) {
        actual = await ports.guests.observe(request, signal);
        known = keepUnlisted(known, actual);
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
    get known() {
      return known;
    },
  };
}

/** What the look found, and what it might have found had it seen all there is. */
function keepUnlisted(
  known: ReadonlyMap<Vmid, Guest>,
  actual: ActualState,
): ReadonlyMap<Vmid, Guest> {
  const missed = [...known].filter(
    ([vmid, { kind }]) => actual[kind].kind === 'unknown' || actual.unseen.has(vmid),
  );
  return missed.length === 0 ? actual.guests : new Map([...missed, ...actual.guests]);
}

/** Why nothing at all could be seen of the node's guests; null: something could. */
export function blindness(actual: ActualState | null): Problem | null {
  if (actual === null || actual.qemu.kind === 'complete' || actual.lxc.kind === 'complete') {
    return null;
  }
  return actual.qemu.problem;
}

/** Why a guest that is not known may be there all the same; null: all there are have been seen. */
export function unseen(actual: ActualState | null): Problem | null {
  if (actual === null) {
    return { code: 'service_unavailable', message: 'the node has not been looked at yet' };
  }
  const list = [actual.qemu, actual.lxc].find(({ kind }) => kind === 'unknown');
  return list?.kind === 'unknown' ? list.problem : null;
}

/**
 * The next step where nothing at all could be seen, if it is another than the code's own; `code` is
 * that of the look at the whole node.
 */
export function unseenHint(
  code: ErrorCode,
  { node, proxmox: { trust } }: Pick<Config, 'node' | 'proxmox'>,
): string | undefined {
  if (code === 'not_found') {
    return `is \`node: ${node}\` what PVE calls this node? \`pvesh get /nodes\` lists the names`;
  }
  if (code === 'tls_untrusted' && trust.kind === 'system') {
    return "`ca_file: system` does not know PVE's own CA: on a host that is /etc/pve/pve-root-ca.pem";
  }
  return undefined;
}

/** Every document problem and double claim, as `desired_invalid`. */
export function desiredProblems(desired: DesiredState | null): RejectedDocument['problem'][] {
  if (desired === null) return [];
  const claims = [...desired.claimedTwice].map(
    ([vmid, sources]): Problem => ({
      code: 'desired_invalid',
      message: `guest ${vmid} is claimed by ${sources.join(' and ')}: it is left alone`,
    }),
  );
  return [...desired.rejected.map(({ problem }) => problem), ...claims];
}
