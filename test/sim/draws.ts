/** What chance draws for a script: how guests behave, what is wanted, what is asked for. */
import { type Action, DEFAULT_STOP, type StopParams } from '../../src/reconcile/op.ts';
import type { Behaviour } from '../support/model/guest.ts';
import type { Dice } from './dice.ts';
import type { Wish } from './script.ts';

export function writeBehaviour(dice: Dice): Partial<Behaviour> {
  return {
    startMs: dice.pick([200, 200, 1_000, 8_000, 70_000]),
    shutdownMs: dice.pick([2_000, 2_000, 20_000, 65_000, null]),
    configTaskMs: dice.pick([null, null, 700, 5_000]),
    ...(dice.chance(0.2) ? { startEnds: writeEnds(dice) } : {}),
    ...(dice.chance(0.2) ? { stopEnds: writeEnds(dice) } : {}),
    ...(dice.chance(0.1) ? { diesAfterMs: dice.whole(1, 90) * 1_000 } : {}),
  };
}

function writeEnds(dice: Dice): string[] {
  return Array.from({ length: dice.whole(1, 4) }, () =>
    dice.pick(['start failed: QEMU exited with code 1', 'WARNINGS: 1', 'got timeout', 'OK']),
  );
}

export function writeWish(dice: Dice): Wish {
  const config = {
    ...(dice.chance(0.5) ? { cores: dice.whole(1, 4) } : {}),
    ...(dice.chance(0.5) ? { description: `wish ${dice.whole(1, 3)}` } : {}),
    ...(dice.chance(0.2) ? { memory: dice.pick([null, 512, 1_024]) } : {}),
  };
  return {
    power: dice.pick(['running', 'running', 'running', 'stopped', 'initial', 'unmanaged']),
    config,
    stop: { timeout: dice.pick(['60s', '10s']) },
    ...(dice.chance(0.1) ? { mode: 'observe' } : {}),
  };
}

export function writeAction(dice: Dice): Action {
  const params: StopParams = {
    mode: dice.chance(0.7) ? 'shutdown' : 'stop',
    timeout_s: dice.pick([DEFAULT_STOP.timeout_s, 10]),
    force: dice.chance(0.2),
  };
  switch (dice.whole(0, 3)) {
    case 0:
      return { kind: 'start', params: {} };
    case 1:
      return { kind: 'stop', params };
    case 2:
      return { kind: 'restart', params };
    default:
      return {
        kind: 'set_config',
        params: { set: { description: `asked ${dice.whole(1, 3)}` }, delete: [] },
      };
  }
}
