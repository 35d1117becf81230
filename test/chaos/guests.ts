/** The guests of a chaos run, and what is wanted of them. */
import type { Dice } from '../sim/dice.ts';
import type { SimulatorOptions } from '../simulator/start.ts';
import type { Wish } from './evidence.ts';

type WorldGuest = NonNullable<NonNullable<SimulatorOptions['world']>['guests']>[number];

/**
 * - `wished`: named in desired state;
 * - `asked`: not named there, but people and hubs ask things of it;
 * - `bystander`: nobody ever has anything to do with it.
 */
type Role = 'wished' | 'asked' | 'bystander';

export interface ChaosGuest {
  readonly vmid: number;
  readonly role: Role;
  readonly setup: WorldGuest;
}

const ROLES: readonly Role[] = [
  ...Array.from({ length: 5 }, (): Role => 'wished'),
  'asked',
  'asked',
  'bystander',
];

export function writeGuests(dice: Dice): ChaosGuest[] {
  return (['qemu', 'lxc'] as const).flatMap((kind) =>
    ROLES.map((role, index): ChaosGuest => {
      const vmid = (kind === 'qemu' ? 100 : 200) + index;
      const running = dice.chance(0.5);
      const isHa = kind === 'qemu' && role === 'wished' && index === 0 && dice.chance(0.5);
      const config = { [kind === 'qemu' ? 'name' : 'hostname']: `g${vmid}`, cores: 1 };
      const setup: WorldGuest = {
        vmid,
        kind,
        running,
        config,
        shutdown_ms: dice.pick([500, 2_000, 8_000]),
        ...(dice.chance(0.15) ? { obeys_shutdown: false } : {}),
        ...(isHa ? { ha: running ? 'started' : 'stopped' } : {}),
      };
      return { vmid, role, setup };
    }),
  );
}

export function writeWish(dice: Dice): Wish {
  return {
    power: dice.pick([
      'running',
      'running',
      'running',
      'stopped',
      'stopped',
      'initial',
      'unmanaged',
    ]),
    ...(dice.chance(0.1) ? { mode: 'observe' } : {}),
    config: {
      ...(dice.chance(0.6) ? { cores: String(dice.whole(1, 4)) } : {}),
      ...(dice.chance(0.6) ? { description: `wish ${dice.whole(1, 3)}` } : {}),
    },
    stop: { timeout: dice.pick(['10s', '20s']) },
  };
}
