/** Worker tasks where no recording reaches: the archive's rotation, and UPIDs of a long uptime. */
import { describe, expect, it } from 'vitest';
import { Clock } from './clock.ts';
import { ManualTicker } from './manual-ticker.ts';
import { ROOT } from './principal.ts';
import { TaskError, Tasks } from './tasks.ts';
import { nodeOfUpid } from './upid.ts';

function scene(uptimeMs = 0): { tasks: Tasks; ticker: ManualTicker; clock: Clock } {
  const ticker = new ManualTicker(1_795_216_000_000);
  const clock = new Clock({ speed: 1, uptimeMs, ticker });
  return { tasks: new Tasks('pve1', clock, () => {}), ticker, clock };
}

describe('the task archive', () => {
  it('keeps the newest thousand and forgets the oldest when it is rotated twice', async () => {
    const { tasks } = scene();
    const first = tasks.start('qmstart', '100', ROOT, async () => {});
    await first.done;
    for (let count = 1; count < 2000; count += 1) {
      await tasks.start('qmstart', '100', ROOT, async () => {}).done;
    }
    expect(tasks.find(first.upid)).toBeNull();
    expect(tasks.archive()).toHaveLength(1000);
  });

  it('has the newest first', async () => {
    const { tasks } = scene();
    await tasks.start('qmstart', '100', ROOT, async () => {}).done;
    await tasks.start('qmstop', '100', ROOT, async () => {}).done;
    expect(tasks.archive().map(({ type }) => type)).toEqual(['qmstop', 'qmstart']);
  });
});

describe('a task', () => {
  it('ends with what its work throws, in its log too', async () => {
    const { tasks } = scene();
    const task = tasks.start('qmstart', '100', ROOT, async () => {
      throw new TaskError('no luck');
    });
    expect(await task.done).toBe('no luck');
    expect(task.log).toEqual(['TASK ERROR: no luck']);
  });

  it('that is killed says so in its status and nothing in its log', async () => {
    const { tasks, clock } = scene();
    const task = tasks.start('qmstart', '100', ROOT, ({ signal }) => clock.sleep(1000, signal));
    tasks.kill(task.upid);
    expect(await task.done).toBe('unexpected status');
    expect(task.log).toEqual([]);
  });

  it('of a node that is up for 500 days has nine digits of pstart', () => {
    const { tasks } = scene(500 * 86_400_000);
    const { upid } = tasks.start('qmstart', '100', ROOT, async () => {});
    expect(upid).toMatch(/^UPID:pve1:[0-9A-F]{8}:[0-9A-F]{9}:6B00D280:qmstart:100:root@pam:$/);
    expect(nodeOfUpid(upid)).toBe('pve1');
  });
});
