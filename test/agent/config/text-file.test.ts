import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readTextFile, requireTextFile } from '../../../src/agent/config/text-file.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'text-file-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, content: string | Buffer, mode = 0o600): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

const MAX = { maxBytes: 1024 };

describe('a file that cannot be taken is refused with its reason', () => {
  test.each<[string, () => string, object]>([
    [
      'missing',
      () => join(dir, 'none'),
      { message: 'cannot be read: no such file', isIoError: true },
    ],
    [
      'a folder',
      () => (mkdirSync(join(dir, 'sub')), join(dir, 'sub')),
      { message: 'not a regular file' },
    ],
    [
      'a pipe nobody writes to',
      () => {
        execFileSync('mkfifo', [join(dir, 'pipe')]);
        return join(dir, 'pipe');
      },
      { message: 'not a regular file' },
    ],
    [
      'a loop of links',
      () => (symlinkSync('loop', join(dir, 'loop')), join(dir, 'loop')),
      {
        message: 'cannot be read: it is a symbolic link, or a loop of them',
        isIoError: true,
      },
    ],
    [
      'too large',
      () => file('large', Buffer.alloc(1025, 65)),
      {
        message: 'larger than the limit of 1 KiB',
      },
    ],
    [
      'without a size of its own, but endless',
      () => '/dev/zero',
      { message: 'not a regular file' },
    ],
    [
      'not UTF-8, with the place',
      () => file('latin', Buffer.from('a: 1\nb: \xfc\n', 'latin1')),
      {
        message: 'not valid UTF-8',
        line: 2,
        column: 4,
      },
    ],
  ])('%s', async (_name, make, problem) => {
    expect(await readTextFile(make(), MAX)).toEqual({ kind: 'unreadable', problem });
  });
});

describe('a secret', () => {
  test.each([
    [0o600, true],
    [0o400, true],
    [0o640, false],
    [0o604, false],
    [0o644, false],
  ])('of mode %o is taken: %s', async (mode, isTaken) => {
    const path = file('token', 'secret', mode);
    const read = await readTextFile(path, { ...MAX, guard: 'secret' });
    expect(read.kind).toBe(isTaken ? 'read' : 'unreadable');
  });

  test('behind a link is refused', async () => {
    file('real', 'secret');
    symlinkSync(join(dir, 'real'), join(dir, 'link'));
    const read = await readTextFile(join(dir, 'link'), { ...MAX, guard: 'secret' });
    expect(read).toMatchObject({ problem: { message: expect.stringContaining('symbolic link') } });
    expect(await readTextFile(join(dir, 'link'), MAX)).toMatchObject({ text: 'secret' });
  });
});

test.each([
  [0o644, true],
  [0o664, false],
  [0o646, false],
])('a public key of mode %o is taken: %s', async (mode, isTaken) => {
  const path = file('key.pem', 'key', mode);
  const read = await readTextFile(path, { ...MAX, guard: 'public_key' });
  expect(read.kind).toBe(isTaken ? 'read' : 'unreadable');
});

describe('a file that is required', () => {
  const required = { ...MAX, code: 'invalid_request', hint: 'what makes one' } as const;

  test('is refused with its name, the code and the hint of who asked, or a better hint', async () => {
    const none = join(dir, 'none');
    await expect(requireTextFile(none, required)).rejects.toMatchObject({
      code: 'invalid_request',
      detail: `${none}: cannot be read: no such file`,
      hint: 'what makes one',
    });
    const open = file('open', 'text', 0o644);
    await expect(requireTextFile(open, { ...required, guard: 'secret' })).rejects.toMatchObject({
      detail: `${open}: can be read by others (mode 0644)`,
      hint: `chmod 600 ${open}`,
    });
    expect(await requireTextFile(open, required)).toBe('text');
  });

  test('is forbidden where we may not read it', async () => {
    const closed = file('closed', 'text', 0o000);
    // Root may read whatever it is.
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid?.(54_321);
    try {
      await expect(requireTextFile(closed, required)).rejects.toMatchObject({
        code: 'forbidden',
        hint: 'run it as root, or as the user whose files these are',
      });
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });
});
