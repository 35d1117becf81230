/**
 * A simulated world as data: who is there, what is wanted, and what happens when. A script replays
 * exactly; a failing one is made short by leaving out events, so each event stands for itself.
 */
import type { Action } from '../../src/reconcile/op.ts';
import type { DiskCall, DiskFault } from '../support/memory-disk.ts';
import type { Fault, RequestKind } from '../support/model/faults.ts';
import type { Behaviour } from '../support/model/guest.ts';
import type { GuestSetup } from '../support/model/node.ts';

/** As desired state names a guest; null: it is not named. */
export type Wish = object | null;

export type CrashKind = 'kill' | 'power_loss' | 'sigterm';

/** What somebody asks of a guest. */
export interface Asking {
  readonly vmid: number;
  readonly action: Action;
  readonly holdMs?: number;
}

type Happening =
  /** The agent ends, so many awaits later. */
  | {
      readonly kind: 'crash';
      readonly how: CrashKind;
      readonly afterSteps: number;
      readonly downMs: number;
    }
  /** The next such call to the disk fails. */
  | { readonly kind: 'disk'; readonly call: DiskCall; readonly fault: DiskFault }
  | { readonly kind: 'disk_slow'; readonly maxMs: number; readonly forMs: number }
  | { readonly kind: 'wire'; readonly state: 'down' | 'stuck'; readonly forMs: number }
  | { readonly kind: 'wire_slow'; readonly maxMs: number; readonly forMs: number }
  /** Reads fail by chance. */
  | { readonly kind: 'wire_flaky'; readonly share: number; readonly forMs: number }
  | { readonly kind: 'fault'; readonly on: RequestKind; readonly fault: Fault }
  | { readonly kind: 'behave'; readonly vmid: number; readonly as: Partial<Behaviour> }
  | {
      readonly kind: 'lock';
      readonly vmid: number;
      readonly lock: string;
      readonly forMs: number;
    }
  | {
      readonly kind: 'stranger';
      readonly vmid: number;
      readonly type: string;
      readonly lock?: string;
      readonly forMs: number;
    }
  | {
      readonly kind: 'person';
      readonly vmid: number;
      readonly does: 'start' | 'stop' | 'power_off';
    }
  | {
      readonly kind: 'write';
      readonly vmid: number;
      readonly key: string;
      readonly value: string | null;
    }
  | { readonly kind: 'hold_tag'; readonly vmid: number; readonly forMs: number }
  | { readonly kind: 'guest_pauses'; readonly vmid: number; readonly forMs: number }
  | {
      readonly kind: 'migrate';
      readonly vmid: number;
      readonly takesMs: number;
      readonly awayMs: number;
    }
  | { readonly kind: 'replace'; readonly vmid: number; readonly type: string }
  | { readonly kind: 'destroy'; readonly vmid: number; readonly awayMs: number }
  | { readonly kind: 'bulk'; readonly type: 'startall' | 'stopall'; readonly gapMs: number }
  | { readonly kind: 'reboot'; readonly downMs: number }
  | { readonly kind: 'clock'; readonly byMs: number }
  | { readonly kind: 'ha_loses'; readonly count: number }
  | { readonly kind: 'ha_disarmed'; readonly forMs: number }
  | { readonly kind: 'ha_error'; readonly vmid: number; readonly forMs: number }
  | { readonly kind: 'rotate' }
  | { readonly kind: 'no_quorum'; readonly forMs: number }
  | { readonly kind: 'blind'; readonly forMs: number }
  | { readonly kind: 'desire'; readonly vmid: number; readonly wish: Wish }
  /** Sent again after each of these times, with the same key, whatever the answer was. */
  | ({
      readonly kind: 'hub';
      readonly key: string;
      readonly lifeMs: number;
      readonly againMs: readonly number[];
    } & Asking)
  | ({ readonly kind: 'operator'; readonly times: number } & Asking)
  | { readonly kind: 'cancel'; readonly vmid: number }
  | { readonly kind: 'hold'; readonly vmid: number; readonly forMs: number | null }
  | { readonly kind: 'resume'; readonly vmid: number }
  | { readonly kind: 'pause'; readonly forMs: number };

export type SimEvent = { readonly atMs: number } & Happening;

export interface Script {
  readonly seed: number;
  readonly guests: readonly { readonly vmid: number; readonly setup: GuestSetup }[];
  readonly wishes: readonly { readonly vmid: number; readonly wish: Wish }[];
  readonly segmentBytes: number;
  readonly keepSegments: number;
  readonly maxParallel: number;
  /** In the order of time. */
  readonly events: readonly SimEvent[];
  /** All faults end here; from then on everything is to come right. */
  readonly calmAtMs: number;
}

/** An event on one line, for people. */
export function describeEvent({ atMs, kind, ...rest }: SimEvent): string {
  return `${(atMs / 1_000).toFixed(3).padStart(9)} ${kind} ${JSON.stringify(rest)}`;
}
