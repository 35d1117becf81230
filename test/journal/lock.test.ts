/** The lock, in one process: what it says of others, and what it does when it is lost. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { connect } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { acquireLock, JournalLock, LOCK_STALE_MS } from '../../src/journal/lock.ts';
import { describeSelf, judgeOwner, parseOwner } from '../../src/journal/owner.ts';
import { openingFailed } from '../../src/journal/recover.ts';
import { holdTurn, takeName } from '../../src/journal/turn.ts';
import type { Clock } from '../../src/reconcile/clock.ts';
import { ReconcilerError } from '../../src/reconcile/errors.ts';
import { tickingClock } from '../support/journal-script.ts';

let stateDir = '';
const held: JournalLock[] = [];
beforeEach(() => {
  stateDir = fs.mkdtempSync(join(tmpdir(), 'journal-lock-'));
});
afterEach(async () => {
  for (const lock of held.splice(0)) await lock.release();
  fs.rmSync(stateDir, { recursive: true });
});

const ownerFile = (): string => join(stateDir, 'journal.owner.json');
const lockFolder = (): string => join(stateDir, 'journal.lock');
let lost: ReconcilerError[] = [];

async function acquire(clock: Clock = tickingClock(Date.now())): Promise<JournalLock> {
  const told: ReconcilerError[] = [];
  const lock = await acquireLock({ stateDir, clock, onLost: (error) => told.push(error) });
  lost = told;
  held.push(lock);
  return lock;
}

function writeOwner(changes: object): void {
  fs.writeFileSync(ownerFile(), JSON.stringify({ ...describeSelf(), ...changes }));
}

describe('a lock that is there', () => {
  test('of a process that has not said who it is keeps others out while it is fresh', async () => {
    fs.mkdirSync(lockFolder());
    await expect(acquire()).rejects.toMatchObject({
      code: 'journal_locked',
      disposition: 'retry',
      message: expect.stringContaining('a process that has not said who it is'),
      context: {},
    });
  });

  test('of another host is believed while it is fresh, and taken over when nobody refreshes it', async () => {
    fs.mkdirSync(lockFolder());
    writeOwner({ host: 'elsewhere', pid: 4242 });
    await expect(acquire()).rejects.toMatchObject({
      message: expect.stringContaining('process 4242 on elsewhere'),
    });
    const oldS = (Date.now() - 2 * LOCK_STALE_MS) / 1000;
    fs.utimesSync(lockFolder(), oldS, oldS);
    const lock = await acquire();
    expect(lock.takenFrom).toMatchObject({ owner: { host: 'elsewhere' }, poisoned: false });
  });

  test('that was taken just now is not watched: proper-lockfile dates it up to 1,005 ms ahead', async () => {
    fs.mkdirSync(lockFolder());
    writeOwner({});
    const secondMs = Math.ceil(Date.now() / 1000) * 1000;
    fs.utimesSync(lockFolder(), new Date(secondMs + 1005), new Date(secondMs + 1005));
    const sleep = (): Promise<void> => Promise.reject(new Error('it is watched'));
    await expect(acquire({ ...tickingClock(secondMs), sleep })).rejects.toMatchObject({
      message: expect.stringContaining(`process ${process.pid} on `),
    });
  });

  test('and old is not taken over when somebody refreshes it while we watch', async () => {
    fs.mkdirSync(lockFolder());
    writeOwner({ host: 'elsewhere' });
    const oldS = (Date.now() - 2 * LOCK_STALE_MS) / 1000;
    fs.utimesSync(lockFolder(), oldS, oldS);
    const clock = tickingClock(Date.now());
    const refreshing = {
      ...clock,
      sleep: async () => fs.utimesSync(lockFolder(), new Date(), new Date()),
    };
    await expect(acquire(refreshing)).rejects.toMatchObject({ code: 'journal_locked' });
  });

  test('with an owner whose text nobody can read may have been a poisoned one', async () => {
    fs.mkdirSync(lockFolder());
    fs.writeFileSync(ownerFile(), '{"pid":');
    const oldS = (Date.now() - 2 * LOCK_STALE_MS) / 1000;
    fs.utimesSync(lockFolder(), oldS, oldS);
    expect((await acquire()).takenFrom).toEqual({ owner: null, poisoned: true });
  });

  test('with an owner file that the disk does not give is left alone', async () => {
    fs.mkdirSync(lockFolder());
    fs.mkdirSync(ownerFile());
    await expect(acquire()).rejects.toMatchObject({ code: 'EISDIR' });
    expect(fs.existsSync(lockFolder())).toBe(true);
  });

  test('since we looked, taken by who cannot see our turn, is that one’s', async () => {
    const first = await acquire();
    const request = { stateDir, clock: tickingClock(Date.now()), onLost: () => undefined };
    const second = new JournalLock(request, describeSelf(), null);
    await expect(second.acquire()).rejects.toMatchObject({
      code: 'journal_locked',
      disposition: 'retry',
      context: { pid: process.pid },
    });
    expect(parseOwner(fs.readFileSync(ownerFile(), 'utf8'))).toEqual(first.owner);
    first.assertStillOwner();
  });
});

describe('a lock of ours', () => {
  test('that was not refreshed in time and is another’s now is lost, once and for good', async () => {
    const clock = tickingClock(Date.now());
    const lock = await acquire(clock);
    lock.assertStillOwner();
    clock.advance(2 * LOCK_STALE_MS);
    // Late, but nobody has taken it.
    lock.assertStillOwner();
    writeOwner({ token: 'another', pid: 4242 });
    const loss = { code: 'journal_locked', disposition: 'halt' };
    expect(() => lock.assertStillOwner()).toThrow(expect.objectContaining(loss));
    expect(() => lock.assertStillOwner()).toThrow(/was lost to process 4242/);
    expect(lost).toHaveLength(1);
    await lock.release();
    expect(fs.existsSync(lockFolder())).toBe(true);
    lock.markPoisoned();
    expect(fs.readFileSync(ownerFile(), 'utf8')).not.toContain('poisoned');
    fs.rmdirSync(lockFolder());
  });

  test('without an owner file is lost to nobody that could be named', async () => {
    const clock = tickingClock(Date.now());
    const lock = await acquire(clock);
    clock.advance(2 * LOCK_STALE_MS);
    fs.rmSync(ownerFile());
    expect(() => lock.assertStillOwner()).toThrow(/lock was lost: it was not refreshed in time/);
    fs.rmdirSync(lockFolder());
  });

  test('that was poisoned says so to whoever comes next', async () => {
    const lock = await acquire();
    lock.markPoisoned();
    expect(parseOwner(fs.readFileSync(ownerFile(), 'utf8'))).toMatchObject({ poisoned: true });
    await lock.markSound();
  });

  test('whose owner file cannot be written is given back', async () => {
    fs.mkdirSync(`${ownerFile()}.${process.pid}.tmp`);
    await expect(acquire()).rejects.toMatchObject({ code: 'EISDIR' });
    expect(fs.existsSync(lockFolder())).toBe(false);
  });

  test('whose folder is gone before it was refreshed for the first time is none', async () => {
    const clock = tickingClock(Date.now());
    const now = (): number => {
      fs.rmdirSync(lockFolder());
      return clock.now();
    };
    await expect(acquire({ ...clock, now })).rejects.toMatchObject({ code: 'ENOENT' });
    expect(fs.readdirSync(stateDir)).toEqual([]);
  });

  test('whose owner file the disk does not give any more is lost when it is late', async () => {
    const clock = tickingClock(Date.now());
    const lock = await acquire(clock);
    fs.rmSync(ownerFile());
    fs.mkdirSync(ownerFile());
    clock.advance(2 * LOCK_STALE_MS);
    expect(() => lock.assertStillOwner()).toThrow(/lock was lost: it was not refreshed in time/);
    lock.letGoAtExit();
    expect(fs.existsSync(lockFolder())).toBe(true);
  });

  test('goes with the process, and another’s stays', async () => {
    const lock = await acquire();
    lock.letGoAtExit();
    expect(fs.existsSync(lockFolder())).toBe(false);
    fs.mkdirSync(lockFolder());
    writeOwner({ token: 'another' });
    lock.letGoAtExit();
    expect(fs.existsSync(lockFolder())).toBe(true);
  });
});

test('an owner on another host or in another pid namespace is unknown, one of another boot gone', () => {
  const self = describeSelf();
  expect(judgeOwner(self, self)).toBe('alive');
  expect(judgeOwner({ ...self, host: `not-${hostname()}` }, self)).toBe('unknown');
  expect(judgeOwner({ ...self, pid_namespace: 'pid:[1]' }, self)).toBe('unknown');
  expect(judgeOwner({ ...self, boot_id: 'another' }, self)).toBe('gone');
  expect(judgeOwner({ ...self, start_ticks: 1 }, self)).toBe('gone');
  expect(judgeOwner({ ...self, pid: 2 ** 22 + 1 }, self)).toBe('gone');
  expect(parseOwner(JSON.stringify({ ...self, pid: 'x' }))).toBeNull();
  expect(parseOwner('[]')).toBeNull();
});

test('an owner that has ended is gone, though nobody has waited for it', async () => {
  const child = spawn('cat');
  const ended = once(child, 'close');
  const { pid = 0 } = child;
  const stat = (): string[] => fs.readFileSync(`/proc/${pid}/stat`, 'latin1').split(' ');
  const self = describeSelf();
  const owner = { ...self, pid, start_ticks: Number(stat()[21]) };
  expect(judgeOwner(owner, self)).toBe('alive');
  process.kill(pid, 'SIGKILL');
  // It is waited for when we come to rest, not before.
  while (stat()[2] !== 'Z') continue;
  expect(judgeOwner(owner, self)).toBe('gone');
  await ended;
});

describe('a turn', () => {
  test('that another process has is waited for, and given up after ten seconds', async () => {
    const end = await holdTurn(stateDir, tickingClock());
    await expect(holdTurn(stateDir, tickingClock())).rejects.toMatchObject({
      code: 'journal_locked',
      disposition: 'retry',
    });
    const clock = tickingClock();
    const waiting = { ...clock, sleep: async () => end() };
    await (await holdTurn(stateDir, waiting))();
  });

  test('ends although somebody connects to its name and stays', async () => {
    const end = await holdTurn(stateDir, tickingClock());
    const { dev, ino } = fs.statSync(stateDir);
    const guest = connect({ path: `\0pve-reconciler:${dev}:${ino}` });
    await once(guest, 'connect');
    await end();
    await (await holdTurn(stateDir, tickingClock()))();
    guest.destroy();
  });

  test('is not had, and not another’s either, where the kernel refuses the name', async () => {
    await expect(takeName(`\0${'x'.repeat(200)}`)).rejects.toThrow(/EINVAL|ENAMETOOLONG/);
  });

  test('needs a folder', async () => {
    await expect(holdTurn(join(stateDir, 'none'), tickingClock())).rejects.toThrow(/ENOENT/);
  });
});

test('what the system says while opening is one of our codes', () => {
  const failing = (code: string): unknown =>
    openingFailed(Object.assign(new Error(code), { code }));
  expect(failing('EACCES')).toMatchObject({ code: 'forbidden' });
  expect(failing('EPERM')).toMatchObject({ code: 'forbidden' });
  for (const code of ['EROFS', 'ENOTDIR', 'EEXIST', 'ENOENT', 'ELOOP']) {
    expect(failing(code)).toMatchObject({ code: 'config_invalid', context: { errno: code } });
  }
  expect(failing('EIO')).toMatchObject({ code: 'journal_poisoned', disposition: 'halt' });
  const own = new ReconcilerError('journal_corrupt', 'x');
  expect(openingFailed(own)).toBe(own);
  const bug = new TypeError('x');
  expect(openingFailed(bug)).toBe(bug);
});
