import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createCompositeProvider } from '../../../src/agent/desired/composite.ts';
import { createConfiguredProvider } from '../../../src/agent/desired/configured.ts';
import { readDesiredFile } from '../../../src/agent/desired/document.ts';
import { createFileProvider } from '../../../src/agent/desired/file.ts';
import type { Clock } from '../../../src/reconcile/clock.ts';
import { type DesiredState, NO_DESIRED_STATE } from '../../../src/reconcile/desired.ts';
import { planGuests } from '../../../src/reconcile/planner.ts';
import type { DesiredProvider } from '../../../src/reconcile/ports.ts';
import { actualState, planContext } from '../../reconcile/plan-inputs.ts';

/** Far enough ahead that every file has been at rest for long; sleeping only counts. */
function aheadClock(onSleep: () => void = () => undefined): Clock {
  return {
    now: () => Date.now() + 3_600_000,
    monotonicMs: () => performance.now(),
    async sleep() {
      onSleep();
    },
  };
}

let dir = '';
let open: DesiredProvider[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'desired-'));
  open = [];
});
afterEach(async () => {
  for (const provider of open) await provider.close();
  rmSync(dir, { recursive: true, force: true });
});

function provider(path = dir, clock = aheadClock()): DesiredProvider {
  const made = createFileProvider({ path, clock });
  open.push(made);
  return made;
}

/** As people should write: beside it, then renamed over it. */
function put(name: string, text: string | Buffer): void {
  writeFileSync(join(dir, `.${name}.new`), text);
  renameSync(join(dir, `.${name}.new`), join(dir, name));
}

const signal = new AbortController().signal;
const vmids = (state: DesiredState): number[] => [...state.guests.keys()];
const guests = (...wanted: number[]): string =>
  `version: 1\nguests:\n${wanted.map((vmid) => `  ${vmid}: { power: running }\n`).join('')}`;

test('a folder is all its documents, whatever their form, and nothing else', async () => {
  put('a.yaml', guests(101));
  put('b.yml', guests(102));
  put('c.json', '{"version":1,"guests":{"103":{"config":{"cores":4,"onboot":true}}}}');
  put('d.yaml~', 'no document');
  put('.e.yaml', 'no document');
  const state = await provider().read(signal);
  expect(vmids(state)).toEqual([101, 102, 103]);
  expect(state.rejected).toEqual([]);
  const third = [...state.guests.values()].find(({ vmid }) => vmid === 103);
  expect([...(third?.config ?? [])]).toEqual([
    ['cores', '4'],
    ['onboot', '1'],
  ]);
});

test('a document with any error is refused whole; its last good version stays in force', async () => {
  put('a.yaml', guests(101));
  put('b.yaml', guests(102));
  const files = provider();
  await files.read(signal);
  put('a.yaml', `${guests(101, 103)}  104: { power: onn }\n`);
  const state = await files.read(signal);
  expect(vmids(state)).toEqual([101, 102]);
  expect(state.rejected).toEqual([
    {
      source: join(dir, 'a.yaml'),
      isInForce: true,
      problem: {
        code: 'desired_invalid',
        message: expect.stringContaining('a.yaml:5:17 guests.104.power: expected one of'),
        place: `${join(dir, 'a.yaml')}:5`,
      },
    },
  ]);
  put('a.yaml', guests(101, 103));
  expect(vmids(await files.read(signal))).toEqual([101, 103, 102]);
});

test('a document that was never good is not in force, and the others are', async () => {
  put('a.yaml', 'version: 2\nguests: {}\n');
  put('b.yaml', guests(102));
  const state = await provider().read(signal);
  expect(vmids(state)).toEqual([102]);
  expect(state.rejected).toMatchObject([{ isInForce: false }]);
});

test('a file that is gone is gone; a folder that is gone changes nothing', async () => {
  put('a.yaml', guests(101));
  put('b.yaml', guests(102));
  const files = provider();
  await files.read(signal);
  rmSync(join(dir, 'a.yaml'));
  expect(vmids(await files.read(signal))).toEqual([102]);
  rmSync(dir, { recursive: true });
  const state = await files.read(signal);
  expect(vmids(state)).toEqual([102]);
  expect(state.rejected).toMatchObject([
    { source: dir, isInForce: true, problem: { message: `${dir}: cannot be read: no such file` } },
  ]);
});

test('a path that cannot be followed any more changes nothing, and is said', async () => {
  put('a.yaml', guests(101));
  const files = provider();
  files.onChange(() => undefined);
  await files.read(signal);
  rmSync(dir, { recursive: true });
  symlinkSync(dir, dir);
  const state = await files.read(signal);
  expect(vmids(state)).toEqual([101]);
  expect(state.rejected).toMatchObject([
    {
      source: dir,
      isInForce: true,
      problem: { message: expect.stringMatching(/a loop of them$/) },
    },
  ]);
  rmSync(dir);
  mkdirSync(dir);
  put('a.yaml', guests(102));
  expect(vmids(await files.read(signal))).toEqual([102]);
});

test('a path that could never be followed is watched for without a failure', async () => {
  const path = join(dir, 'loop');
  symlinkSync(path, path);
  const files = provider(path);
  files.onChange(() => undefined);
  expect((await files.read(signal)).rejected).toMatchObject([{ source: path, isInForce: false }]);
});

test('a file that is gone for an instant only keeps its last good version', async () => {
  put('a.yaml', guests(101));
  let comesBack: string | null = null;
  const clock = aheadClock(() => {
    if (comesBack !== null) put('a.yaml', comesBack);
    comesBack = null;
  });
  const files = provider(dir, clock);
  await files.read(signal);
  rmSync(join(dir, 'a.yaml'));
  comesBack = 'version: 1\nguests: { 101: { power: onn } }\n';
  const state = await files.read(signal);
  expect(vmids(state)).toEqual([101]);
  expect(state.rejected).toMatchObject([{ source: join(dir, 'a.yaml'), isInForce: true }]);
  rmSync(join(dir, 'a.yaml'));
  expect(await files.read(signal)).toMatchObject({ rejected: [], guests: new Map() });
});

test('a read that is broken off takes nothing for gone', async () => {
  put('a.yaml', guests(101));
  const stopping = new AbortController();
  const files = provider(
    dir,
    aheadClock(() => stopping.abort()),
  );
  await files.read(stopping.signal);
  rmSync(join(dir, 'a.yaml'));
  expect(vmids(await files.read(stopping.signal))).toEqual([101]);
});

describe('a half-written file is never taken', () => {
  test('one that is still being written is read when it rests', async () => {
    const path = join(dir, 'a.yaml');
    writeFileSync(path, 'version: 1\nguests:\n  101: { config: { memory: 40');
    let sleeps = 0;
    // The clock of the real file system: it rests only once the writer is done.
    const clock: Clock = {
      ...aheadClock(),
      now: () => (sleeps < 3 ? Date.now() : Date.now() + 3_600_000),
      async sleep() {
        sleeps += 1;
        writeFileSync(path, guests(101));
      },
    };
    const state = await provider(path, clock).read(signal);
    expect(sleeps).toBe(3);
    expect(state.rejected).toEqual([]);
    expect(vmids(state)).toEqual([101]);
  });

  test('one that never rests is reported, and the last good version stays', async () => {
    const path = join(dir, 'a.yaml');
    writeFileSync(path, guests(101));
    let isBusy = false;
    const clock: Clock = {
      ...aheadClock(),
      now: () => Date.now() + (isBusy ? 0 : 3_600_000),
      async sleep() {
        writeFileSync(path, guests(101, 102));
      },
    };
    const files = provider(path, clock);
    await files.read(signal);
    isBusy = true;
    writeFileSync(path, guests(102));
    const state = await files.read(signal);
    expect(vmids(state)).toEqual([101]);
    expect(state.rejected).toMatchObject([{ isInForce: true }]);
  });
});

test('a document that could not be read is read again, though its file is the same', async () => {
  put('a.yaml', guests(101));
  let failures = 0;
  let reads = 0;
  const files = createFileProvider({
    path: dir,
    clock: aheadClock(),
    readFile(file) {
      reads += 1;
      if (failures === 0) return readDesiredFile(file);
      failures -= 1;
      return readDesiredFile(join(dir, 'not-there.yaml'));
    },
  });
  open.push(files);
  await files.read(signal);
  put('a.yaml', guests(102));
  failures = 2;
  const failed = await files.read(signal);
  expect(vmids(failed)).toEqual([101]);
  expect(failed.rejected).toMatchObject([
    { isInForce: true, problem: { message: expect.stringMatching(/cannot be read/) } },
  ]);
  expect(await files.read(signal)).toBe(failed);
  const read = await files.read(signal);
  expect(vmids(read)).toEqual([102]);
  expect(read.rejected).toEqual([]);
  expect(await files.read(signal)).toBe(read);
  expect(reads).toBe(4);
});

test('a document that is wrong is not read again before its file changes', async () => {
  put('a.yaml', 'version: 2\nguests: {}\n');
  let reads = 0;
  const files = createFileProvider({
    path: dir,
    clock: aheadClock(),
    readFile: (file) => ((reads += 1), readDesiredFile(file)),
  });
  open.push(files);
  const first = await files.read(signal);
  expect(await files.read(signal)).toBe(first);
  expect(reads).toBe(1);
});

test('an unchanged file is not parsed again', async () => {
  put('a.yaml', guests(101));
  const files = provider();
  const first = await files.read(signal);
  const second = await files.read(signal);
  const [a] = first.guests.values();
  const [b] = second.guests.values();
  expect(a).toBe(b);
});

test('a vmid that two documents claim is nobody’s, and both are named', async () => {
  put('a.yaml', guests(101, 102));
  mkdirSync(join(dir, 'more'));
  put('b.yaml', guests(102));
  writeFileSync(join(dir, 'more', 'c.yaml'), guests(102, 103));
  const all = createCompositeProvider([provider(), provider(join(dir, 'more'))]);
  const state = await all.read(signal);
  expect(vmids(state)).toEqual([101, 103]);
  expect([...state.claimedTwice.values()]).toEqual([
    [join(dir, 'a.yaml'), join(dir, 'b.yaml'), join(dir, 'more', 'c.yaml')],
  ]);
});

test('a large folder is read whole, and planned in the order of the guests', async () => {
  const numbers = Array.from({ length: 300 }, (_, index) => 101 + index);
  for (const vmid of numbers.toReversed()) put(`guest-${vmid}.yaml`, guests(vmid, vmid + 1000));
  const state = await provider().read(signal);
  const { entries } = planGuests(state, actualState(), null, planContext());
  expect(entries.map(({ vmid }) => vmid)).toEqual([
    ...numbers,
    ...numbers.map((vmid) => vmid + 1000),
  ]);
  expect(new Set(entries.map(({ status }) => status))).toEqual(new Set(['skipped']));
});

test('where the configuration names nothing nobody wants anything', async () => {
  const nothing = createConfiguredProvider([], aheadClock());
  open.push(nothing);
  expect(await nothing.read(signal)).toEqual(NO_DESIRED_STATE);
  nothing.onChange(() => expect.fail('nothing ever changes'))();
});

test('every path the configuration names is read', async () => {
  put('a.yaml', guests(101));
  put('b.yaml', guests(102));
  const both = createConfiguredProvider([join(dir, 'b.yaml'), join(dir, 'a.yaml')], aheadClock());
  open.push(both);
  expect(vmids(await both.read(signal))).toEqual([102, 101]);
});

test('a changed file is noticed, also when the folder is replaced between reads', async () => {
  put('a.yaml', guests(101));
  const files = provider();
  const changed = (): Promise<void> =>
    new Promise((resolve) => {
      const stop = files.onChange(() => {
        stop();
        resolve();
      });
    });
  const first = changed();
  put('a.yaml', guests(102));
  await first;
  renameSync(dir, `${dir}.old`);
  mkdirSync(dir);
  put('a.yaml', guests(103));
  await files.read(signal);
  const second = changed();
  put('a.yaml', guests(104));
  await second;
  expect(vmids(await files.read(signal))).toEqual([104]);
  rmSync(`${dir}.old`, { recursive: true });
});

test('a folder that is removed and made again at once, with the same inode, is watched on', async () => {
  const files = provider();
  let notice = (): void => undefined;
  const changed = (): Promise<void> => new Promise((resolve) => (notice = resolve));
  files.onChange(() => notice());
  await files.read(signal);
  const gone = changed();
  rmSync(dir, { recursive: true });
  mkdirSync(dir);
  await gone;
  await files.read(signal);
  const filled = changed();
  put('a.yaml', guests(101));
  await filled;
  expect(vmids(await files.read(signal))).toEqual([101]);
});

describe('hostile files are refused with their place, and memory stays bounded', () => {
  test.each<[string, (path: string) => void, RegExp]>([
    [
      'a 50 MB file',
      (path) => (writeFileSync(path, ''), truncateSync(path, 50_000_000)),
      /larger than/,
    ],
    [
      'invalid UTF-8',
      (path) => writeFileSync(path, Buffer.from([0x61, 0x0a, 0xff])),
      /:2:1: not valid UTF-8/,
    ],
    ['a loop of links', (path) => symlinkSync(path, path), /symbolic link/],
    ['a device', (path) => symlinkSync('/dev/zero', path), /not a regular file/],
  ])('%s', async (_name, make, message) => {
    put('good.yaml', guests(101));
    make(join(dir, 'bad.yaml'));
    const state = await provider().read(signal);
    expect(vmids(state)).toEqual([101]);
    expect(state.rejected.map(({ problem }) => problem.message)).toEqual([
      expect.stringMatching(message),
    ]);
  });
});
