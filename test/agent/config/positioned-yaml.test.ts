import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { findingText, parsePositioned } from '../../../src/agent/config/positioned-yaml.ts';
import { documentSchema } from '../../../src/reconcile/desired.ts';

function findingsOf(text: string, schema: z.ZodType = documentSchema): string[] {
  const parsed = parsePositioned(text, { file: 'f.yaml', schema });
  return parsed.kind === 'valid' ? [] : parsed.findings.map(findingText);
}

function valueOf(text: string): unknown {
  const parsed = parsePositioned(text, { file: 'f.yaml', schema: z.unknown() });
  return parsed.kind === 'valid' ? parsed.value : parsed.findings.map(findingText);
}

const GUEST = (body: string): string => `version: 1\nguests:\n  101:\n${body}`;

describe('every finding names its line, its column, its path and what was expected', () => {
  test.each([
    [
      'a wrong enum',
      GUEST('    power: runing\n'),
      [
        'f.yaml:4:12 guests.101.power: expected one of running, stopped, initial, unmanaged, found "runing"',
      ],
    ],
    [
      'an unknown key, at the key',
      GUEST('    powr: running\n'),
      [
        'f.yaml:4:5 guests.101.powr: unknown key: expected one of kind, name, power, mode, config, ignore, stop',
      ],
    ],
    [
      'a wrong type',
      GUEST('    stop: { force: maybe }\n'),
      ['f.yaml:4:20 guests.101.stop.force: expected true or false, found a text'],
    ],
    [
      'a vmid out of range, at the key',
      'version: 1\nguests:\n  42: {}\n',
      ['f.yaml:3:3 guests: expected a vmid, 100 to 999999999'],
    ],
    [
      'a bad duration',
      GUEST('    stop:\n      timeout: 60\n'),
      [
        'f.yaml:5:16 guests.101.stop.timeout: expected a duration like 500ms, 30s, 5m, 1h or 90d, found a number',
      ],
    ],
    [
      'a duration too long to count',
      GUEST('    stop:\n      timeout: 99999999999999d\n'),
      ['f.yaml:5:16 guests.101.stop.timeout: expected a duration like 500ms, 30s, 5m, 1h or 90d'],
    ],
    [
      'a missing key, at what it is missing from',
      'guests: {}\n',
      ['f.yaml:1:1 version: missing: expected 1'],
    ],
    [
      'a value no option can have',
      GUEST('    config:\n      net0: { bridge: vmbr0 }\n'),
      [
        'f.yaml:5:13 guests.101.config.net0: expected a text or a number or true or false or a list or null, found a mapping',
      ],
    ],
    [
      'a key that stands twice',
      GUEST('    power: running\n  101: {}\n'),
      ['f.yaml:5:3 guests.101: the key stands here twice'],
    ],
    [
      'a key that stands twice as another spelling',
      'version: 1\nguests: { 101: {}, "101": {} }',
      ['f.yaml:2:20 guests.101: the key stands here twice'],
    ],
    [
      'two documents',
      'version: 1\nguests: {}\n---\nversion: 1\n',
      ['f.yaml:3:1: expected one document, found a second one'],
    ],
    [
      'YAML 1.1, where no means false',
      '%YAML 1.1\n---\nversion: 1\nguests: {}\n',
      ['f.yaml:1:1: expected YAML 1.2, found %YAML 1.1'],
    ],
    [
      'an alias without an anchor',
      'version: 1\nguests: *all\n',
      [
        'f.yaml:2:9 guests: an alias without an anchor before it; a text that begins with * takes quotes',
      ],
    ],
    [
      'an alias inside its own anchor',
      'version: 1\nguests: &g { 101: *g }\n',
      [
        'f.yaml:2:19 guests.101: an alias without an anchor before it; a text that begins with * takes quotes',
      ],
    ],
    [
      'JSON too',
      '{\n\t"version": 1,\n\t"guests": { "101": { "power": true } }\n}',
      [
        'f.yaml:3:32 guests.101.power: expected one of running, stopped, initial, unmanaged, found true or false',
      ],
    ],
    ['an empty file', '', ['f.yaml:1:1: expected a mapping, found nothing']],
    [
      '__proto__',
      'version: 1\nguests: {}\n__proto__: { a: 1 }\n',
      ['f.yaml:3:1 __proto__: unknown key'],
    ],
  ])('%s', (_name, text, findings) => {
    expect(findingsOf(text)).toEqual(findings);
  });

  test('syntax errors have their place', () => {
    expect(findingsOf('version: 1\nguests: [\n')).toEqual([
      expect.stringMatching(/^f\.yaml:3:1: .*flow/i),
    ]);
  });

  test.each([
    ['no space behind a colon', GUEST('    a:hunter2\n    b: 1\n'), 4, 'space behind a colon'],
    [
      'a space too much',
      GUEST('    power: on\n     name: x\n'),
      4,
      'next line is indented too far',
    ],
    ['no comma in JSON', '{"version": 1 "guests": {}}', 1, 'a comma is missing behind it'],
  ])('syntax errors name what is most often behind them: %s', (_name, text, line, words) => {
    const [first] = findingsOf(text);
    expect(first).toMatch(new RegExp(`^f\\.yaml:${line}:.*${words}`));
  });

  test('several findings are all named', () => {
    expect(findingsOf(GUEST('    power: on\n    kind: vm\n'))).toHaveLength(2);
  });

  test.each([
    [': [hunter2, { a: 1 }]'],
    [': { hunter2: 1 }'],
    [':\n        hunter2: 1'],
    [':hunter2\n      cores: 1'],
    [': hunter2: x'],
    [': "hunter2'],
    [': "hunter2"x'],
    [': "\\qhunter2"'],
    [': &a *hunter2'],
    [': !<hunter2'],
    ...Array.from('*!|>%@`,[]{}', (sign) => [`: ${sign}hunter2`]),
    [': 1\n      hunter2!: x'],
    [': 1\n      ? [hunter2]\n      : x'],
    [': 1\n%hunter2 x'],
  ])('a text that may be a secret is not repeated: cipassword%j', (rest) => {
    const found = findingsOf(GUEST(`    config:\n      cipassword${rest}\n`));
    expect(found).not.toEqual([]);
    expect(found.join()).not.toContain('hunter2');
  });
});

describe('values', () => {
  test.each([
    ['yes is a text in YAML 1.2', 'a: yes', { a: 'yes' }],
    [
      'a number keeps its text where its text would change',
      'a: [1.10, 007, 0x1f, 1e3, 4]',
      {
        a: ['1.10', '007', '0x1f', '1e3', 4],
      },
    ],
    [
      'a number too large to be exact keeps its text',
      'a: 12345678901234567890',
      {
        a: '12345678901234567890',
      },
    ],
    ['aliases repeat their anchor', 'a: &x [1, 2]\nb: *x', { a: [1, 2], b: [1, 2] }],
    [
      'a merge key is a key like any other',
      'a: &x { b: 1 }\nc: { <<: *x }',
      {
        a: { b: 1 },
        c: { '<<': { b: 1 } },
      },
    ],
  ])('%s', (_name, text, value) => {
    expect(valueOf(text)).toEqual(value);
  });
});

/** Each level is ten times the one below it. */
const bomb = (levels: number): string =>
  Array.from({ length: levels }, (_, i) =>
    i === 0
      ? `a0: &a0 [${Array.from({ length: 10 }, () => 'x').join(', ')}]`
      : `a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`).join(', ')}]`,
  ).join('\n');

describe('what a text may expand to is bounded', () => {
  test.each([
    ['an alias bomb', bomb(9)],
    [
      'one large anchor, used again and again',
      `a: &a [${'1,'.repeat(2000)}]\nb: [${'*a,'.repeat(2000)}]`,
    ],
    ['nested lists', '['.repeat(100_000)],
    ['nested block lists', '- '.repeat(20_000)],
    ['blocks that end all at once', `${'n: ""'.repeat(5_000)}}`],
    ['a million tokens', `[${'a,'.repeat(700_000)}]`],
  ])('%s is refused', (_name, text) => {
    const before = process.memoryUsage().heapUsed;
    const [finding] = findingsOf(text, z.unknown());
    expect(finding).toMatch(/expand to more|too large|deep/);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(500 * 1024 * 1024);
  });
});
