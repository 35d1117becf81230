/** The commands that talk to the running agent, as people and scripts see them. */
import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { CommandContext } from '../../../src/agent/command-line/command.ts';
import { createProgram } from '../../../src/agent/command-line/command-line.ts';
import { runApply } from '../../../src/agent/commands/apply.ts';
import { runComplete, runCompletion } from '../../../src/agent/commands/completion.ts';
import { runGuestOp } from '../../../src/agent/commands/guest.ts';
import {
  runGuestHold,
  runGuestResume,
  runPause,
  runResume,
} from '../../../src/agent/commands/hold.ts';
import { runOpsCancel } from '../../../src/agent/commands/ops-cancel.ts';
import { runOpsWait } from '../../../src/agent/commands/ops-wait.ts';
import { API } from '../../../src/agent/control/api.ts';
import { type ControlClient, connectToAgent } from '../../../src/agent/control/client.ts';
import { watchOp } from '../../../src/agent/terminal/watch-op.ts';
import { ReconcilerError } from '../../../src/reconcile/errors.ts';
import { untilAnswered } from './control-world.ts';
import { setUp, sitDown } from './desk.ts';

const RUN_NOTHING = () => async (): Promise<void> => undefined;

describe('guest', () => {
  test('start says which op it is, and how to follow it; stdout has nothing else', async () => {
    await using world = await setUp();
    const { context, out, err } = await sitDown(world);
    expect(await runGuestOp(context, { kind: 'start', ref: 'mail' })).toBe(0);
    expect(out.text).toMatch(/^[0-9a-z]{16} {2}start of 102: received\n$/);
    expect(err.text).toContain('ops wait');
  });

  test('stop --json is the op; hard and timeout reach it', async () => {
    await using world = await setUp();
    const { context, out } = await sitDown(world, { isJson: true });
    await runGuestOp(context, { kind: 'stop', ref: '101', hard: true, timeout: '5s' });
    expect(JSON.parse(out.text)).toMatchObject({
      vmid: 101,
      params: { mode: 'stop', timeout_s: 5, force: false },
    });
  });

  test('restart --wait ends with the op, one line of progress a step', async () => {
    await using world = await setUp();
    const { context, out, err } = await sitDown(world);
    const exit = runGuestOp(context, { kind: 'restart', ref: 'web', wait: true });
    expect(await untilAnswered(world, exit)).toBe(0);
    expect(out.text).toContain('restart of 101: succeeded');
    const steps = err.text.split('\n').filter((line) => line.includes('101 web'));
    expect(steps.length).toBeGreaterThanOrEqual(6);
    expect(err.text).not.toContain('\u001B');
  });

  test('restart of one that is down is told how it is started', async () => {
    await using world = await setUp();
    const { context, err } = await sitDown(world);
    const exit = runGuestOp(context, { kind: 'restart', ref: 'mail', wait: true });
    expect(await untilAnswered(world, exit)).toBe(1);
    expect(err.text).toMatch(/\[conflict\] the guest is not running.*\nhint: `.* guest start 102`/);
  });

  test('start --wait says once what it waits for, after how the op began', async () => {
    await using world = await setUp();
    world.node.guest(102).lock = 'backup';
    const { context, err } = await sitDown(world);
    const exit = runGuestOp(context, { kind: 'start', ref: 'mail', wait: true });
    const advance = async (): Promise<void> => {
      await world.clock.advanceTo(world.clock.elapsedMs + 100);
      await new Promise((resolve) => setImmediate(resolve));
    };
    while (!err.text.includes('guest_locked')) await advance();
    // Four looks more.
    for (let i = 0; i < 200; i++) await advance();
    world.node.guest(102).lock = null;
    await untilAnswered(world, exit);
    const steps = err.text.split('\n').map((line) => line.split(' ', 1)[0]);
    expect(steps.filter((step) => step !== '')).toEqual([
      'received',
      'waiting',
      'started',
      'task_running',
      'succeeded',
    ]);
  });

  test('start --wait does not take a failed try for the end', async () => {
    await using world = await setUp();
    world.api.faults.plan('start', { kind: 'refuse', code: 'guest_locked', message: 'locked' });
    const { context, out, err } = await sitDown(world);
    const exit = runGuestOp(context, { kind: 'start', ref: 'mail', wait: true });
    expect(await untilAnswered(world, exit)).toBe(0);
    expect(out.text).toContain('start of 102: succeeded');
    expect(err.text).toContain('[guest_locked] locked');
  });

  test.each<[string, (context: CommandContext) => Promise<unknown>]>([
    ['--timeout', (it) => runGuestOp(it, { kind: 'stop', ref: '101', timeout: '0s' })],
    ['--timeout', (it) => runGuestOp(it, { kind: 'stop', ref: '101', timeout: '25h' })],
    ['--hold', (it) => runGuestOp(it, { kind: 'start', ref: '101', hold: '1x' })],
    ['--for', (it) => runGuestHold(it, { ref: '101', for: '1x' })],
    ['--for', (it) => runGuestHold(it, { ref: '101', for: '0s' })],
    ['--for', (it) => runPause(it, { for: '999ms' })],
    ['--for', (it) => runPause(it, { for: '9999999d' })],
  ])('a duration that is none is refused as %s, before an agent is asked', async (option, run) => {
    await using world = await setUp();
    const { context } = await sitDown(world);
    await world.server.close();
    await expect(run(context)).rejects.toMatchObject({
      code: 'invalid_request',
      detail: expect.stringMatching(new RegExp(`^${option}: expected a duration from 1s to `)),
      hint: expect.stringContaining('--help'),
    });
  });

  test('hold and resume say until when', async () => {
    await using world = await setUp({
      desired: { 101: { power: 'running' }, 103: { power: 'running', mode: 'observe' } },
    });
    const { context, out } = await sitDown(world);
    await runGuestHold(context, { ref: 'web', for: '30m' });
    await runGuestHold(context, { ref: 'web' });
    for (const ref of ['web', 'mail', '103']) await runGuestResume(context, { ref });
    await runPause(context, { for: '1h' });
    await runResume(context);
    expect(out.text.split('\n')).toEqual([
      expect.stringMatching(/^guest 101 \(web\) is on hold until 2026-11-20T12:30:00/),
      'guest 101 (web) is on hold until it is resumed',
      'guest 101 (web) is reconciled again',
      'guest 102 (mail) is in no document: nothing is reconciled of it',
      'guest 103 ($(reboot)) is on hold no more; its mode is observe',
      expect.stringMatching(/^reconciling is paused until 2026-11-20T13:00:00/),
      'reconciling goes on',
      '',
    ]);
  });
});

test('a time that no hold may have is refused before the agent is asked', async () => {
  await using world = await setUp();
  const { context } = await sitDown(world);
  await world.server.close();
  const refused = { code: 'invalid_request' };
  const far = '104000000d';
  await expect(runGuestHold(context, { ref: 'web', for: far })).rejects.toMatchObject(refused);
  await expect(runPause(context, { for: far })).rejects.toMatchObject(refused);
  const stop = runGuestOp(context, { kind: 'stop', ref: 'web', hold: far });
  await expect(stop).rejects.toMatchObject(refused);
});

describe('ops', () => {
  test('wait draws one line again and again on a terminal', async () => {
    await using world = await setUp();
    const op = await sitDown(world, { isJson: true });
    await runGuestOp(op.context, { kind: 'stop', ref: '101' });
    const { op_id: opId } = JSON.parse(op.out.text);
    const { context, err, out } = await sitDown(world, { isTerminal: true });
    const waiting = runOpsWait(context, { id: opId.slice(0, 6) });
    // It watches; only now does time go on.
    await expect.poll(() => err.text).toContain('101 web');
    expect(await untilAnswered(world, waiting)).toBe(0);
    expect(err.text).toContain('\u001B[1A\r\u001B[J');
    expect(err.text).toMatch(/✓ succeeded .* s {2}101 web {2}stop \(shutdown, 60 s\)/);
    expect(out.text).toContain('succeeded after');
  });

  test('wait that is interrupted stops watching, and says that the op goes on', async () => {
    await using world = await setUp();
    const op = await sitDown(world, { isJson: true });
    await runGuestOp(op.context, { kind: 'stop', ref: '101' });
    const { op_id: opId } = JSON.parse(op.out.text);
    const { context, interrupt } = await sitDown(world);
    const waiting = runOpsWait(context, { id: opId });
    interrupt.abort();
    await expect(waiting).rejects.toMatchObject({
      code: 'interrupted',
      message: expect.stringContaining('goes on'),
      context: { op_id: opId },
    });
    await world.clock.until(world.engine.idle(), 60_000);
    expect(world.node.guest(101).power).toBe('stopped');
  });

  test('wait exits with 1 where the op failed, with its code and id', async () => {
    await using world = await setUp();
    world.node.guest(102).behaviour.startEnds.push('start failed: no memory');
    const { context, err } = await sitDown(world);
    const exit = runGuestOp(context, { kind: 'start', ref: '102', wait: true });
    expect(await untilAnswered(world, exit)).toBe(1);
    expect(err.text).toMatch(/error \[task_failed\] .*no memory.* \(op_id [0-9a-z]{16}\)/);
  });

  test('cancel ends what has not begun', async () => {
    await using world = await setUp();
    const { context, out } = await sitDown(world);
    await runGuestOp(context, { kind: 'stop', ref: '101' });
    await runGuestOp(context, { kind: 'start', ref: '101' });
    const [, second = ''] = out.text.split('\n').map((line) => line.split(' ')[0] ?? '');
    expect(await runOpsCancel(context, { id: second })).toBe(0);
    expect(out.text).toContain(`${second}  start of 101: cancelled`);
  });
});

describe('through the agent', () => {
  test('apply makes a pass, shows its ops, and prints the plan that is left', async () => {
    await using world = await setUp({ desired: { 102: { power: 'running' } } });
    await world.clock.until(world.engine.idle(), 60_000);
    world.node.guest(102).power = 'stopped';
    const { context, out, err } = await sitDown(world);
    const exit = runApply(context, { refs: ['mail'] });
    expect(await untilAnswered(world, exit)).toBe(0);
    expect(err.text).toContain('102 mail');
    expect(err.text).toContain('succeeded');
    expect(out.text).toContain('1 guest: 1 in sync; nothing to do');
    expect(world.node.guest(102).power).toBe('running');
  });

  test('apply ends with an error line for each op that failed', async () => {
    await using world = await setUp({ desired: { 102: { power: 'running' } } });
    await world.clock.until(world.engine.idle(), 60_000);
    world.node.guest(102).power = 'stopped';
    world.node.guest(102).behaviour.startEnds.push('start failed: no memory');
    const { context, err } = await sitDown(world);
    expect(await untilAnswered(world, runApply(context, { refs: [] }))).toBe(1);
    const [line, hint] = err.text.split('\n').slice(-3);
    expect(line).toMatch(
      /^error \[task_failed\] start of 102: start failed: no memory \(op_id [0-9a-z]{16}\)$/,
    );
    expect(hint).toBe(
      `hint: \`pve-reconciler ops show ${line?.slice(-17, -1)}\` has the end of its log`,
    );
  });

  test('where no stream is to be had apply begins nothing, and --wait asks for its op alone', async () => {
    await using world = await setUp({ desired: { 102: { power: 'running' } } });
    await world.clock.until(world.engine.idle(), 60_000);
    world.node.guest(102).power = 'stopped';
    await using streams = new AsyncDisposableStack();
    const { signal } = new AbortController();
    const begin = (): Promise<unknown> =>
      streams.use(connectToAgent(world.socket)).openEvents({ types: ['guest'], signal });
    await Promise.all(Array.from({ length: 64 }, begin));
    const { context, out, err } = await sitDown(world);
    await expect(runApply(context, { refs: [] })).rejects.toMatchObject({
      code: 'service_unavailable',
      message: expect.stringContaining('too many event streams'),
    });
    expect(world.journal.ledger.opsInFlight()).toEqual([]);
    const wait = runGuestOp(context, { kind: 'start', ref: 'mail', wait: true });
    expect(await untilAnswered(world, wait)).toBe(0);
    expect(out.text).toContain('start of 102: succeeded');
    expect(err.text).toBe('too many event streams are open; asking again\n');
  });

  test('an agent that has no turn for the op when it ends is asked again', async () => {
    await using world = await setUp();
    const { context, err } = await sitDown(world);
    const op = await world.client.call(API.startGuest, { params: { ref: 'mail' } });
    const refusals = [
      new ReconcilerError('service_unavailable', 'too many', { context: { request_id: 'x' } }),
    ];
    const call: ControlClient['call'] = async (route, input) => {
      const refusal = route.path === API.getOp.path ? refusals.pop() : undefined;
      if (refusal !== undefined) throw refusal;
      return world.client.call(route, input);
    };
    const ended = watchOp(context, { ...world.client, call }, op);
    expect(await untilAnswered(world, ended)).toMatchObject({ state: 'succeeded' });
    expect(err.text).toContain('too many; asking again');
  });

  test('an op that cannot be watched any more is named all the same', async () => {
    await using world = await setUp();
    const { context } = await sitDown(world);
    const op = await world.client.call(API.startGuest, { params: { ref: 'mail' } });
    const refuse = (): Promise<never> =>
      Promise.reject(new ReconcilerError('journal_corrupt', 'no record is read'));
    const agent = { ...world.client, openEvents: refuse, call: refuse };
    await expect(watchOp(context, agent, op)).rejects.toMatchObject({
      code: 'interrupted',
      message: expect.stringContaining('no record is read'),
      hint: expect.stringContaining(`ops wait ${op.op_id}`),
      context: { op_id: op.op_id },
    });
  });

  test('apply of a guest there is not ends with that alone', async () => {
    await using world = await setUp();
    const { context } = await sitDown(world);
    const problem = { code: 'not_found' };
    await expect(runApply(context, { refs: ['nosuch'] })).rejects.toMatchObject(problem);
  });

  test('a command without an agent fails with how to start one', async () => {
    await using world = await setUp();
    const { context } = await sitDown(world);
    await world.server.close();
    await expect(runPause(context, {})).rejects.toMatchObject({ code: 'service_unavailable' });
  });
});

describe('completion', () => {
  test.each([
    [['gu'], ['guest']],
    [
      ['guest', 're'],
      ['restart', 'resume'],
    ],
    [['guest', 'stop', 'w'], ['web']],
    [['guest', 'stop', '--config', '/x', '10'], []],
    [
      ['guest', 'stop', 'web', '--h'],
      ['--hard', '--help', '--hold'],
    ],
    [
      ['completion', ''],
      ['bash', 'zsh'],
    ],
    [['guest', 'stop', '$'], []],
  ])('offers for %j: %j', async (words, candidates) => {
    await using world = await setUp();
    const { context, out } = await sitDown(world);
    const program = createProgram({ terminal: context.terminal, run: RUN_NOTHING });
    expect(await runComplete(context, { program, words })).toBe(0);
    expect(out.text.split('\n').filter((line) => line !== '')).toEqual(candidates);
  });

  test('a real bash takes what it prints, and evaluates nothing of it', async () => {
    await using world = await setUp();
    const { context, out } = await sitDown(world);
    await runCompletion(context, 'bash');
    const folder = dirname(world.socket);
    const script = `
      pve-reconciler() { printf '%s\\n' web '$(touch ${folder}/ran)' 'a b'; }
      ${out.text}
      COMP_WORDS=(pve-reconciler guest stop w) COMP_CWORD=3
      _pve_reconciler
      printf '<%s>' "\${COMPREPLY[@]}"`;
    const bash = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
    expect(bash.stderr).toBe('');
    expect(bash.stdout).toBe(`<web><$(touch ${folder}/ran)><a b>`);
  });
});
