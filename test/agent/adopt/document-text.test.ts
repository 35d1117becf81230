import { describe, expect, test } from 'vitest';
import type { AdoptedGuest } from '../../../src/agent/adopt/adopted-guest.ts';
import { extendDocument } from '../../../src/agent/adopt/document-text.ts';
import { readDesiredText } from '../../../src/agent/desired/document.ts';
import { parseVmid } from '../../../src/reconcile/ids.ts';

function adopted(): AdoptedGuest[] {
  const vmid = parseVmid(200);
  if (vmid === null) throw new Error('200 is no vmid');
  return [{ vmid, entry: { kind: 'qemu', config: { cores: 4, cpulimit: 1.5 } }, leftOut: [] }];
}

/** What the reader makes of each key of guest 101. */
function valuesOf(text: string): Record<string, string | null> {
  const document = readDesiredText(text, 'test');
  if (document.kind === 'invalid') throw new Error(JSON.stringify(document.findings));
  const guest = document.guests.find(({ vmid }) => vmid === 101);
  return Object.fromEntries(guest?.config ?? []);
}

const NUMBERS = [
  ['007', '007'],
  ['0x1F', '0x1F'],
  ['0o17', '0o17'],
  ['1e3', '1e3'],
  ['1E3', '1E3'],
  ['+5', '+5'],
  ['.5', '.5'],
  ['5.', '5.'],
  ['-0', '-0'],
  ['1.10', '1.10'],
  ['1.0', '1.0'],
  ['12345678901234567890', '12345678901234567890'],
  ['0x1fffffffffffffffff', '0x1fffffffffffffffff'],
  ['1e400', '1e400'],
  ['-.INF', '-.INF'],
  ['[1.0, 010]', '1.0;010'],
] as const;

describe('guests that were there before keep their values when others are added', () => {
  test.each(NUMBERS)('%s, in YAML as it was written', (written, value) => {
    const before = `version: 1\nguests:\n  101:\n    config: { cores: ${written} } # mine\n`;
    expect(valuesOf(before)).toEqual({ cores: value });
    const text = extendDocument(before, adopted(), { isJson: false });
    expect(text.replaceAll(/\[ | \]/g, (bracket) => bracket.trim())).toBe(
      `${before}  200:\n    kind: qemu\n    config:\n      cores: 4\n      cpulimit: 1.5\n`,
    );
    expect(valuesOf(text)).toEqual({ cores: value });
  });

  test.each(NUMBERS)('%s, in JSON as text where JSON cannot say it', (written, value) => {
    const before = `{"version":1,"guests":{"101":{"config":{"cores":${written}}}}}`;
    const text = extendDocument(before, adopted(), { isJson: true });
    expect(valuesOf(text)).toEqual({ cores: value });
    expect(JSON.parse(text)).toMatchObject({ guests: { 200: { config: { cores: 4 } } } });
  });

  test('what stood behind an anchor, too', () => {
    const before = 'version: 1\nguests:\n  101: { config: { cores: &n 02, sockets: *n } }\n';
    for (const isJson of [false, true]) {
      const text = extendDocument(before, adopted(), { isJson });
      expect(valuesOf(text)).toEqual({ cores: '02', sockets: '02' });
    }
  });
});

test('a document in which a guest would read differently afterwards is not extended', () => {
  // Printed again, the comment would be the text.
  const before = 'version: 1\nguests:\n  101:\n    config:\n      description: | # none\n';
  expect(valuesOf(before)).toEqual({ description: '' });
  expect(() => extendDocument(before, adopted(), { isJson: false })).toThrow(
    /^desired_invalid: guest 101 would read differently/,
  );
});
