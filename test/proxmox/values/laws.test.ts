/** What holds of every option and every text: equality, order, spelling, totality. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  findOption,
  optionNames,
  type PropertyFacts,
} from '../../../src/proxmox/values/options.ts';
import {
  parsePropertyString,
  printPropertyString,
} from '../../../src/proxmox/values/property-string.ts';
import {
  createValueSemantics,
  hasDrift,
  isSameValue,
} from '../../../src/proxmox/values/same-value.ts';
import type { GuestKind } from '../../../src/reconcile/guest.ts';

const semantics = createValueSemantics();

const options = (['qemu', 'lxc'] as const).flatMap((kind) =>
  [...optionNames(kind)]
    // Of a numbered option two stand for all.
    .filter((key) => !/(?:[2-9]|\d\d)$/.test(key))
    .map((key) => ({ kind, key })),
);
const anyOption = fc.constantFrom(...options);
const structured = options.filter(({ kind, key }) => findOption(kind, key)?.format !== null);

/** Texts that look like values: what PVE sees most, and what it never saw. */
const anyText = fc.oneof(
  fc.string(),
  fc.stringMatching(/^[a-z0-9=,;:. -]{0,20}$/),
  fc.constantFrom('', ' ', '0', '1', 'virtio,bridge=vmbr0', 'local-lvm:32', 'none,media=cdrom'),
);

const anyWord = fc.stringMatching(/^[a-z][a-z0-9:/;.]{0,8}$/);

function propertyText(facts: PropertyFacts): fc.Arbitrary<string> {
  if (facts.enum !== undefined) return fc.constantFrom(...facts.enum);
  if (facts.type === 'boolean') return fc.constantFrom('1', '0', 'yes', 'Off', 'true', 'NO');
  if (facts.type === 'integer') return fc.nat().map(String);
  if (facts.type === 'number') return fc.constantFrom('1', '1.5', '1.50', '02');
  if (facts.format === 'mac-addr') return fc.constantFrom('BC:24:11:00:00:01', 'bc:24:11:00:00:0a');
  if (facts.format === 'disk-size') return fc.constantFrom('1G', '1024M', '7T', '512');
  return anyWord;
}

interface Parts {
  readonly kind: GuestKind;
  readonly key: string;
  readonly parts: readonly string[];
}

/** A property string in parts, each property once, aliases left to their own test. */
const anyParts: fc.Arbitrary<Parts> = fc.constantFrom(...structured).chain(({ kind, key }) => {
  const format = findOption(kind, key)?.format;
  const entries = [...(format?.properties ?? [])].filter(([, facts]) => facts.alias === undefined);
  return fc
    .subarray(entries, { minLength: 1 })
    .chain((chosen) =>
      fc
        .tuple(
          ...chosen.map(([name, facts]) => propertyText(facts).map((text) => `${name}=${text}`)),
        )
        .map((parts) => ({ kind, key, parts })),
    );
});

test('every text means the same as itself', () => {
  fc.assert(
    fc.property(anyOption, anyText, ({ kind, key }, text) => {
      expect(isSameValue(kind, key, [text, text])).toBe(true);
      expect(hasDrift(kind, key, { written: text, read: text })).toBe(false);
    }),
  );
});

test('meaning the same is symmetric and transitive', () => {
  const texts = fc.tuple(anyText, anyText, anyText);
  fc.assert(
    fc.property(anyOption, texts, ({ kind, key }, [a, b, c]) => {
      const same = (x: string, y: string): boolean => isSameValue(kind, key, [x, y]);
      expect(same(a, b)).toBe(same(b, a));
      if (same(a, b) && same(b, c)) expect(same(a, c)).toBe(true);
    }),
  );
});

test('the order of properties never matters', () => {
  fc.assert(
    fc.property(
      anyParts.chain((value) =>
        fc
          .shuffledSubarray([...value.parts], { minLength: value.parts.length })
          .map((shuffled) => ({ ...value, shuffled })),
      ),
      ({ kind, key, parts, shuffled }) => {
        const [a, b] = [parts.join(','), shuffled.join(',')];
        expect(isSameValue(kind, key, [a, b])).toBe(true);
        expect(hasDrift(kind, key, { written: a, read: b })).toBe(false);
      },
    ),
  );
});

test('a blank part changes nothing, and neither does the quick look', () => {
  const pairs = anyParts.chain(({ kind, key, parts }) => {
    const some = fc.array(fc.constantFrom(...parts, 'x', 'new=1'), { maxLength: 6 });
    return fc.tuple(some, some).map(([desired, actual]) => ({
      kind,
      key,
      desired: desired.join(','),
      actual: actual.join(','),
    }));
  });
  fc.assert(
    fc.property(pairs, ({ kind, key, desired, actual }) => {
      // A text PVE cannot parse is only ever itself.
      fc.pre(isSameValue(kind, key, [actual, `${actual}, `]));
      // A blank part is nothing the quick look knows: this asks the proper one.
      const properly = semantics.isSatisfied({ kind, key, desired, actual: `${actual}, ` });
      expect(semantics.isSatisfied({ kind, key, desired, actual })).toBe(properly);
    }),
    { numRuns: 500 },
  );
});

test('a property more is a difference, and drift where it is desired and missing', () => {
  fc.assert(
    fc.property(anyParts, ({ kind, key, parts }) => {
      const whole = parts.join(',');
      const without = parts.slice(1).join(',');
      // Any bps is the same to PVE, and with the mbps beside it nothing is lost.
      fc.pre(!parts[0]?.startsWith('bps'));
      expect(isSameValue(kind, key, [whole, without])).toBe(false);
      expect(hasDrift(kind, key, { written: whole, read: without })).toBe(true);
    }),
  );
});

test('a default key and an alias say what the name says', () => {
  for (const { kind, key } of structured) {
    const format = findOption(kind, key)?.format;
    if (format?.defaultKey) {
      expect(isSameValue(kind, key, ['x1', `${format.defaultKey}=x1`]), key).toBe(true);
    }
    for (const [name, { alias, keyAlias }] of format?.properties ?? []) {
      if (alias === undefined) continue;
      const spelled = keyAlias === undefined ? `${alias}=1` : `${keyAlias}=${name},${alias}=1`;
      expect(isSameValue(kind, key, [`${name}=1`, spelled]), `${key} ${name}`).toBe(true);
    }
  }
});

test('a property no table knows is compared as text, never dropped', () => {
  fc.assert(
    fc.property(anyParts, ({ kind, key, parts }) => {
      const text = parts.join(',');
      expect(isSameValue(kind, key, [`${text},new=Yes`, `new=Yes,${text}`])).toBe(true);
      expect(isSameValue(kind, key, [`${text},new=Yes`, `${text},new=yes`])).toBe(false);
      expect(hasDrift(kind, key, { written: text, read: `${text},new=1` })).toBe(true);
    }),
  );
});

test('an option no table knows is compared as text and is irreversible', () => {
  fc.assert(
    fc.property(anyText, anyText, (a, b) => {
      expect(isSameValue('qemu', 'no-such-option', [a, b])).toBe(a === b);
      const change = { kind: 'qemu', key: 'no-such-option', from: a, to: b } as const;
      expect(semantics.classify(change)).toBe(a === b ? 'benign' : 'irreversible');
    }),
  );
});

test('a property string that is printed parses to the same properties', () => {
  fc.assert(
    fc.property(fc.constantFrom(...structured), anyText, ({ kind, key }, text) => {
      const format = findOption(kind, key)?.format;
      if (!format) return;
      const parsed = parsePropertyString(format, text);
      if (parsed.kind === 'broken') return;
      const again = parsePropertyString(format, printPropertyString(format, parsed.properties));
      expect(again.kind === 'parsed' && Object.fromEntries(again.properties)).toEqual(
        Object.fromEntries(parsed.properties),
      );
    }),
  );
});

test('what is written to keep what PVE filled in satisfies what is desired', () => {
  const values = anyParts.chain(({ kind, key, parts }) =>
    fc.tuple(fc.subarray([...parts]), fc.subarray([...parts])).map(([desired, actual]) => ({
      kind,
      key,
      desired: desired.join(','),
      actual: actual.join(','),
    })),
  );
  fc.assert(
    fc.property(values, ({ kind, key, desired, actual }) => {
      const written = semantics.fillIn({ kind, key, desired, actual });
      expect(semantics.isSatisfied({ kind, key, desired, actual: written })).toBe(true);
      expect(semantics.fillIn({ kind, key, desired: written, actual })).toBe(written);
    }),
  );
});

test('nothing is thrown whatever the text', () => {
  fc.assert(
    fc.property(anyOption, anyText, anyText, ({ kind, key }, a, b) => {
      semantics.refusal(kind, key, a);
      semantics.isSatisfied({ kind, key, desired: a, actual: b });
      semantics.fillIn({ kind, key, desired: a, actual: b });
      semantics.classify({ kind, key, from: a, to: b });
    }),
    { numRuns: 1000 },
  );
});

test('a long text is judged in few words', () => {
  const distinct = new Map(options.map((option) => [findOption(option.kind, option.key), option]));
  for (const { kind, key } of distinct.values()) {
    for (const piece of ['-', 'a.', 'x,', 'a=1,', '0', '\n', ' ', ';', '%20']) {
      const text = `${piece.repeat(25_000)}!`;
      expect(semantics.refusal(kind, key, text)?.length ?? 0).toBeLessThan(400);
      expect(semantics.isSatisfied({ kind, key, desired: text, actual: `${text}?` })).toBe(false);
    }
  }
});
