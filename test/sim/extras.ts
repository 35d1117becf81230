/**
 * What some scripts get on top, each with dice of its own: so the seeds that once failed go on
 * telling the story they told.
 */
import { type Action, DEFAULT_STOP } from '../../src/reconcile/op.ts';
import { Dice } from './dice.ts';
import type { Script, SimEvent, Wish } from './script.ts';

interface Extra {
  /** Of the scripts that have it. */
  readonly share: number;
  readonly add: (script: Script, dice: Dice) => Script;
}

const EXTRAS: readonly Extra[] = [
  { share: 0.3, add: wishForPasswords },
  { share: 0.15, add: killWhilePveIsStuck },
];

/** Between the dice of two extras of one seed. */
const STRIDE = 0x5ec2e7;

export function addExtras(plain: Script): Script {
  return EXTRAS.reduce((script, { share, add }, index) => {
    const dice = new Dice(plain.seed + (index + 1) * STRIDE);
    return dice.chance(share) ? add(script, dice) : script;
  }, plain);
}

function wishForPasswords(script: Script, dice: Dice): Script {
  return {
    ...script,
    wishes: script.wishes.map((each) => ({ ...each, wish: addPassword(each.wish, dice) })),
    events: script.events.map((event) =>
      event.kind === 'desire' ? { ...event, wish: addPassword(event.wish, dice) } : event,
    ),
  };
}

function addPassword(wish: Wish, dice: Dice): Wish {
  if (wish === null || dice.chance(0.5)) return wish;
  const config: unknown = 'config' in wish ? wish.config : {};
  return { ...wish, config: { ...Object(config), cipassword: `secret ${dice.whole(1, 3)}` } };
}

/**
 * Desired state makes the agent send something that PVE takes its time with, the agent is killed,
 * and the next one is asked for the opposite before that has come.
 */
function killWhilePveIsStuck(script: Script, dice: Dice): Script {
  const { vmid } = dice.pick([...script.guests] as [Script['guests'][number]]);
  const atMs = dice.whole(10_000, script.calmAtMs - 60_000);
  const on = dice.pick<'start' | 'stop'>(['start', 'stop']);
  const [power, other] = on === 'start' ? ['running', 'stopped'] : ['stopped', 'running'];
  const action: Action =
    on === 'stop' ? { kind: 'start', params: {} } : { kind: 'stop', params: DEFAULT_STOP };
  const oppositeMs = atMs + dice.whole(4_000, 25_000);
  const opposite: SimEvent = dice.chance(0.5)
    ? { kind: 'desire', atMs: oppositeMs, vmid, wish: { power: other } }
    : {
        kind: 'hub',
        atMs: oppositeMs,
        vmid,
        key: 'opposite',
        action,
        lifeMs: 600_000,
        againMs: [],
        holdMs: 600_000,
      };
  const effectAfterMs = dice.whole(10_000, 33_000);
  const events: SimEvent[] = [
    { kind: 'fault', atMs, on, fault: { kind: 'answer_596', effectAfterMs } },
    { kind: 'desire', atMs, vmid, wish: { power } },
    {
      kind: 'crash',
      atMs: atMs + dice.whole(500, 3_000),
      how: 'kill',
      afterSteps: 0,
      downMs: dice.pick([50, 1_000]),
    },
    opposite,
  ];
  return {
    ...script,
    events: [...script.events, ...events].sort((a, b) => a.atMs - b.atMs),
  };
}
