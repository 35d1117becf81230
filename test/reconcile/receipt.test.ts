import { describe, expect, it } from 'vitest';
import { parseVmid } from '../../src/reconcile/ids.ts';
import { DEFAULT_STOP, type OpRecord } from '../../src/reconcile/op.ts';
import { keepLines, LOG_LINES_KEPT, makeReceipt } from '../../src/reconcile/receipt.ts';
import { ModelWorld } from '../support/model-world.ts';

/** The records of one op that an operator asked for, and of its parts. */
async function runOp(
  kind: 'start' | 'restart',
  setUp: (world: ModelWorld) => void,
): Promise<{ records: OpRecord[]; parts: OpRecord[][] }> {
  const world = new ModelWorld();
  setUp(world);
  await world.start({ intervalMs: null });
  const vmid = parseVmid(101);
  if (vmid === null) throw new Error('no vmid');
  const action =
    kind === 'start' ? ({ kind, params: {} } as const) : ({ kind, params: DEFAULT_STOP } as const);
  await world.clock.until(world.life.engine.submit({ origin: 'operator', vmid, action }), 1_000);
  await world.clock.advanceTo(60_000);
  await world.stop();
  const all = world.journal.records;
  const records = all.filter(({ op_id: id }) => id === all[0]?.op_id);
  const parts = Map.groupBy(
    all.filter(({ parent_op_id: parent }) => parent !== undefined),
    ({ op_id: id }) => id,
  );
  return { records, parts: [...parts.values()] };
}

describe('a receipt', () => {
  it('tells of a success what was seen, and how long each phase took', async () => {
    const { records } = await runOp('start', ({ node }) => node.add(101));
    const receipt = makeReceipt({ records, toMs: Date.parse });
    expect(receipt).toMatchObject({
      outcome: 'succeeded',
      code: null,
      message: 'done: OK',
      exitStatus: 'OK',
      observed: { power: 'running' },
      attempts: [{ number: 1, outcome: 'succeeded', exitStatus: 'OK', error: null }],
      phases: { waitedMs: 20, requestMs: 10, taskMs: 220, totalMs: 250 },
    });
    expect(receipt.upids).toEqual([expect.stringContaining(':qmstart:101:')]);
  });

  it('counts the tries of an op, each with its task and its end', async () => {
    const { records } = await runOp('start', ({ node, api }) => {
      node.add(101);
      api.faults.plan('start', { kind: 'refuse', code: 'guest_locked', message: 'VM is locked' });
    });
    const receipt = makeReceipt({ records, toMs: Date.parse });
    expect(receipt.outcome).toBe('succeeded');
    expect(receipt.attempts).toMatchObject([
      { number: 1, outcome: 'failed', upid: null, error: { code: 'guest_locked' } },
      { number: 2, outcome: 'succeeded', exitStatus: 'OK' },
    ]);
  });

  it('of a restart that failed half-way has both tasks, and the log of the one that failed', async () => {
    const { records, parts } = await runOp('restart', ({ node }) =>
      node.add(101, { running: true, behaviour: { startEnds: ['broken', 'broken', 'broken'] } }),
    );
    const receipt = makeReceipt({ records, parts, toMs: Date.parse });
    expect(receipt).toMatchObject({
      outcome: 'failed',
      code: 'task_failed',
      message: 'stopped, but not started again: broken',
      exitStatus: 'broken',
      log: ['TASK ERROR: broken'],
      parts: [
        { kind: 'stop', outcome: 'succeeded' },
        { kind: 'start', outcome: 'failed' },
      ],
    });
    expect(receipt.upids).toHaveLength(4);
  });

  it.each([1, 2, 3])('of an op after %i records says that it is in flight', async (count) => {
    const { records } = await runOp('start', ({ node }) => node.add(101));
    const receipt = makeReceipt({ records: records.slice(0, count), toMs: Date.parse });
    expect(receipt).toMatchObject({ outcome: 'in_flight', code: null });
    expect(receipt.message).toMatch(/waits for its turn|under way/);
  });

  it('makes do with records that say the least', async () => {
    const { records } = await runOp('start', ({ node }) => node.add(101));
    const bare = records.map(
      ({ seq, at, op_id, vmid, guest_kind, kind, origin, state, attempt }) => {
        return {
          type: 'op',
          seq,
          at,
          op_id,
          vmid,
          guest_kind,
          kind,
          origin,
          state,
          attempt,
        } as const;
      },
    );
    const told = bare.map((_, count) => {
      const receipt = makeReceipt({ records: bare.slice(0, count + 1), toMs: Date.parse });
      expect(receipt).toMatchObject({ params: null, correlationId: null, exitStatus: null });
      return receipt.message;
    });
    expect(told).toEqual([
      'it waits for its turn',
      'its request is under way',
      expect.stringContaining('is under way'),
      'done',
    ]);
  });

  it('needs a record', () => {
    expect(() => makeReceipt({ records: [], toMs: Date.parse })).toThrow('internal_error');
  });
});

const lines = (count: number): string[] => Array.from({ length: count }, (_, i) => `line ${i}`);

describe('the lines kept of a log', () => {
  it('are all of a short one', () => {
    expect(keepLines(lines(2 * LOG_LINES_KEPT))).toHaveLength(100);
  });

  it('are the first and the last fifty of a long one, and how many are missing', () => {
    const kept = keepLines(lines(1_000));
    expect(kept).toHaveLength(2 * LOG_LINES_KEPT + 1);
    expect([kept[0], kept[49], kept[50], kept[51], kept[100]]).toEqual([
      'line 0',
      'line 49',
      '[900 lines left out]',
      'line 950',
      'line 999',
    ]);
  });
});
