/** `status`, through the running agent. */
import { expect, test } from 'vitest';
import { runGuestOp } from '../../../src/agent/commands/guest.ts';
import { runGuestHold, runPause } from '../../../src/agent/commands/hold.ts';
import { runStatus } from '../../../src/agent/commands/status.ts';
import { loadConfig } from '../../../src/agent/config/config.ts';
import { socketFindings } from '../../../src/agent/doctor/agent-checks.ts';
import { parseVmid } from '../../../src/reconcile/ids.ts';
import { untilAnswered } from './control-world.ts';
import { GUESTS, setUp, sitDown } from './desk.ts';

test('has a row per guest and says in a line whether all is in sync', async () => {
  await using world = await setUp({ desired: { 101: { power: 'running' } } });
  const { context, out } = await sitDown(world);
  expect(await runStatus(context, { refs: [] })).toBe(0);
  expect(out.text.trim().split('\n').at(-1)).toBe(
    'in sync: the one wanted guest is as it should be',
  );
  const json = await sitDown(world, { isJson: true });
  await runStatus(json.context, { refs: ['web'] });
  expect(JSON.parse(json.out.text)).toMatchObject({ source: 'agent', guests: [{ vmid: 101 }] });
});

test('shows a pause and holds with their ends', async () => {
  await using world = await setUp({ desired: { 101: { power: 'running' } } });
  const { context, out } = await sitDown(world);
  await runPause(context, { for: '1h' });
  await runGuestHold(context, { ref: 'web', for: '30m' });
  await runGuestHold(context, { ref: 'mail', for: '40m' });
  await world.pass();
  out.text = '';
  await runStatus(context, { refs: [] });
  const rows = out.text.trim().split('\n');
  expect(rows.at(-2)).toMatch(/^reconciling is paused until 2026-11-20T13:00:00.*: paused by /);
  expect(rows.at(-1)).toMatch(/^in sync/);
  expect(rows[1]).toMatch(/^101 .* on_hold: held by .*, until 2026-11-20T12:30:00/);
  expect(rows[2]).toMatch(/^102 .* on_hold: held by .*, until 2026-11-20T12:40:00/);
  expect(rows.join('\n').match(/on_hold/g)).toHaveLength(2);
});

test('and doctor say what is wrong with the hub, which only the running agent knows', async () => {
  const message = 'connected since …; it does not take receipts: the hub answered 403 (op 01J)';
  await using world = await setUp({ parts: [{ name: 'hub', ok: false, message }] });
  const { context, out } = await sitDown(world);
  expect(await runStatus(context, { refs: [] })).toBe(0);
  expect(out.text).toContain(`\nhub: ${message}\n`);
  const config = await loadConfig(context.configFile);
  expect(await socketFindings(config, { isNodeSeen: true })).toMatchObject([
    { check: 'control_socket', level: 'ok' },
    { check: 'hub', level: 'warning', message: expect.stringContaining(message) },
  ]);
});

test('has the hint of the reason itself, where it has one', async () => {
  await using world = await setUp();
  const message = 'the clock is 600 s behind the journal';
  world.reasons.push({ code: 'service_unavailable', message, hint: 'set the clock' });
  const { context, err } = await sitDown(world);
  await runStatus(context, { refs: [] });
  expect(err.text).toBe(`error [service_unavailable] ${message}\nhint: set the clock\n`);
});

test.each([80, 100])('in %i columns has every condition by its code', async (columns) => {
  await using world = await setUp({
    guests: { ...GUESTS, 104: { running: true, config: { name: 'a-rather-long-name' } } },
    desired: {
      101: { power: 'running', mode: 'observe' },
      102: { power: 'running', mode: 'observe' },
      104: { power: 'running', config: { cores: 4 } },
    },
  });
  world.node.guest(104).lock = 'backup';
  await world.pass();
  const { context, out } = await sitDown(world, { columns });
  await runStatus(context, { refs: [] });
  const rows = out.text.split('\n');
  expect(rows.find((row) => row.startsWith('102'))).toMatch(/ observe_only: .*…$/);
  expect(rows.find((row) => row.startsWith('104'))).toMatch(/ guest_locked: .*…$/);
  expect(Math.max(...rows.map((row) => row.length))).toBeLessThanOrEqual(columns);
});

test('names a hold by its kind before the next pass, and where its guest cannot be read', async () => {
  await using world = await setUp({ desired: { 101: { power: 'running' } } });
  const reason = 'flapping: it needed too many starts';
  const vmid = parseVmid(101);
  if (vmid === null) throw new Error('no vmid');
  await world.journal.ledger.note({ kind: 'hold', hold: { vmid, untilMs: null, reason } });
  const { context, out } = await sitDown(world);
  await runStatus(context, { refs: ['web'] });
  world.api.views.isBlind = true;
  await world.pass();
  await runStatus(context, { refs: ['web'] });
  expect(out.text.match(/flapping: .*it needed/g)).toHaveLength(2);
  expect(out.text).not.toContain('on_hold');
});

test('what an op waits for is not said to end when it is looked at again', async () => {
  await using world = await setUp();
  world.node.guest(102).lock = 'backup';
  const { context, out } = await sitDown(world);
  await untilAnswered(world, runGuestOp(context, { kind: 'start', ref: 'mail' }));
  await world.clock.advanceTo(world.clock.elapsedMs + 1_000);
  out.text = '';
  await runStatus(context, { refs: ['mail'] });
  expect(out.text).toMatch(
    /guest_locked: the guest is locked \(backup\); looked at again, or given up, at \d{4}-/,
  );
});

test('does not call in sync what a rejected document wants', async () => {
  await using world = await setUp();
  world.reasons.push({ code: 'desired_invalid', message: 'web.yaml:1:1: expected a mapping' });
  const { context, out } = await sitDown(world);
  expect(await runStatus(context, { refs: [] })).toBe(1);
  expect(out.text.trim().split('\n').at(-1)).toBe('not in sync: see the errors');
});
