import { expect, it } from 'vitest';
import { DEFAULT_STOP, OP_KINDS } from '../../src/reconcile/op.ts';
import { leadingOps, phaseOf } from '../../src/reconcile/phase.ts';
import { ModelWorld } from '../support/model-world.ts';
import { vmidOf } from './plan-inputs.ts';

it('every kind of op has its phase', () => {
  expect(OP_KINDS.map(phaseOf)).toEqual(['starting', 'stopping', 'restarting', 'configuring']);
});

it('the phase is that of the op at work, of a restart and not of its parts, and then of the next', async () => {
  const world = new ModelWorld();
  world.node.add(101, { running: true });
  await world.start({ intervalMs: null });
  const vmid = vmidOf(101);
  const asked = { origin: 'operator', vmid } as const;
  const { engine } = world.life;
  const answers = Promise.all([
    engine.submit({ ...asked, action: { kind: 'restart', params: DEFAULT_STOP } }),
    engine.submit({ ...asked, action: { kind: 'stop', params: DEFAULT_STOP } }),
  ]);
  await world.clock.until(answers, 1_000);
  const seen: string[] = [];
  for (let atMs = 0; atMs < 8_000; atMs += 50) {
    await world.clock.advanceTo(atMs);
    const leading = leadingOps(world.ports.ledger.opsInFlight()).get(vmid);
    const phase = leading === undefined ? 'steady' : phaseOf(leading.latest.kind);
    if (seen.at(-1) !== phase) seen.push(phase);
  }
  expect(seen).toEqual(['restarting', 'stopping', 'steady']);
  await world.stop();
});
