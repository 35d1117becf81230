import { PassThrough, Writable } from 'node:stream';
import { assert, property, string } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatTable } from '../../../src/agent/terminal/table.ts';
import { createTerminal, printable } from '../../../src/agent/terminal/terminal.ts';

type FakeStream = PassThrough & { isTTY?: boolean; columns?: number };

function fakeTerminal(
  tty: boolean,
  env: Record<string, string> = {},
): { out: FakeStream; terminal: ReturnType<typeof createTerminal> } {
  const out: FakeStream = new PassThrough();
  if (tty) Object.assign(out, { isTTY: true, columns: 40 });
  return { out, terminal: createTerminal({ out, err: new PassThrough() }, env) };
}

describe('colour is for somebody who sees it and wants it', () => {
  test.each<[string, boolean, Record<string, string>, boolean]>([
    ['on a terminal', true, {}, true],
    ['in a pipe', false, {}, false],
    ['with NO_COLOR', true, { NO_COLOR: '1' }, false],
    ['with NO_COLOR set to nothing', true, { NO_COLOR: '' }, true],
    ['on a dumb terminal', true, { TERM: 'dumb' }, false],
  ])('%s', (_name, tty, env, isColoured) => {
    const { terminal } = fakeTerminal(tty, env);
    expect(terminal.out.paint('red', 'x')).toBe(isColoured ? '\u001B[31mx\u001B[0m' : 'x');
  });
});

test('a terminal without a UTF-8 locale is sent ASCII of the same width, a pipe never', () => {
  const text = '⠋ Grüße → 日…';
  const written = (tty: boolean, env: Record<string, string>): string => {
    const { out, terminal } = fakeTerminal(tty, env);
    terminal.out.line(text);
    return String(out.read());
  };
  expect(written(true, { LANG: 'C' })).toMatch(/^[|/\\-] Gr\?\?e > \?~\n$/);
  expect(written(true, { LANG: 'C', LC_ALL: 'de_DE.utf8' })).toBe(`${text}\n`);
  expect(written(true, { LANG: 'en_GB.UTF-8', LC_ALL: 'C' })).not.toContain('→');
  expect(written(false, { LANG: 'C' })).toBe(`${text}\n`);
});

test('each sign of ours has an ASCII one', () => {
  const { out, terminal } = fakeTerminal(true, { LANG: 'C' });
  terminal.out.line('→…✓✗·–‖⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏');
  expect(String(out.read())).toMatch(/^[\x20-\x7E]{17}\n$/);
  terminal.out.line('→…✓✗·–‖');
  expect(String(out.read())).not.toContain('?');
});

test('after the reader has gone nothing is written, and nothing fails', () => {
  const { out, terminal } = fakeTerminal(false);
  terminal.out.line('one');
  out.emit('error', Object.assign(new Error('EPIPE'), { code: 'EPIPE' }));
  terminal.out.line('two');
  expect(terminal.out.closed.aborted).toBe(true);
  expect(String(out.read())).toBe('one\n');
});

test.each([
  ['EPIPE', null],
  ['ENOSPC', expect.objectContaining({ code: 'ENOSPC' })],
])('a write that fails with %s ends the output; only a lost one is told', async (code, told) => {
  const out = new Writable({
    write: (_chunk, _encoding, done) => done(Object.assign(new Error(code), { code })),
  });
  const terminal = createTerminal({ out, err: new PassThrough() }, {});
  terminal.out.line('one');
  expect(await terminal.out.finish()).toEqual(told);
  expect(terminal.out.closed.aborted).toBe(true);
});

test('no text that somebody chose can move the cursor, break the line or turn it around', () => {
  const dangerous = /[\p{Cc}\u2028\u2029\u202A-\u202E\u2066-\u2069]/u;
  assert(property(string({ unit: 'binary' }), (text) => !dangerous.test(printable(text))));
  expect(printable('a\u001B[2Jb\r\n\u202Ec')).toBe('a\\x1b[2Jb\\r\\n\\u202ec');
  expect(printable('Grüße, 日本')).toBe('Grüße, 日本');
});

test.each([{ columns: 0, rows: 0 }, {}])('a terminal of %j has the usual size', (size) => {
  const out = Object.assign(new PassThrough(), { isTTY: true, ...size });
  const { columns, rows } = createTerminal({ out, err: new PassThrough() }, {}).out;
  expect({ columns, rows }).toEqual({ columns: 100, rows: 24 });
});

describe('a table', () => {
  const columns = [
    { title: 'ID' },
    { title: 'NAME', isFlexible: true },
    { title: 'WHY', isFlexible: true },
  ];
  const rows = [
    ['100', 'web', 'locked: a backup of it is under way since this morning'],
    ['1000', 'a-rather-long-name', ''],
  ];

  test('is as wide as it must be where nobody counts columns', () => {
    expect(formatTable(columns, rows)).toEqual([
      'ID    NAME                WHY',
      '100   web                 locked: a backup of it is under way since this morning',
      '1000  a-rather-long-name',
    ]);
  });

  test('leaves columns out where even cut ones do not fit, in their order', () => {
    const some = [{ title: 'ID' }, { title: 'KIND', leftOut: 1 }, { title: 'STATE', leftOut: 2 }];
    const titles = [60, 15, 12, 3].map((width) => formatTable(some, [], { width })[0]);
    expect(titles).toEqual(['ID  KIND  STATE', 'ID  KIND  STATE', 'ID  STATE', 'ID']);
  });

  test('leaves empty columns out first, and cuts no column below its least before that', () => {
    const some = [
      { title: 'ID' },
      { title: 'STATE', leftOut: 1 },
      { title: 'LAST', leftOut: 2 },
      { title: 'WHY', isFlexible: true, least: 12 },
    ];
    const table = (width: number) =>
      formatTable(some, [['100', 'up', '', 'locked: by a backup']], { width })[1];
    expect(table(32)).toBe('100  up           locked: by a …');
    expect(table(25)).toBe('100  up     locked: by a…');
    expect(table(18)).toBe('100  locked: by a…');
  });

  test('fits the terminal: what may be cut is cut, the widest first', () => {
    expect(formatTable(columns, rows, { width: 40 })).toEqual(
      [
        'ID    NAME               WHY',
        '100   web                locked: a back…',
        '1000  a-rather-long-na…',
      ].map((line) => expect.stringMatching(line.slice(0, 12))),
    );
    for (const line of formatTable(columns, rows, { width: 40 })) {
      expect(line.length).toBeLessThanOrEqual(40);
    }
  });
});
