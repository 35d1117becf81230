/**
 * The config options PVE 9 knows, by kind: a typed view of the generated tables.
 *
 * Facts only: what a value means, whether it is valid and what undoing it takes are decided
 * elsewhere. A key that is in no table is null here, never guessed.
 */
import { z } from 'zod';
import type { GuestKind } from '../../reconcile/guest.ts';
import lxcTable from './options-lxc.json' with { type: 'json' };
import qemuTable from './options-qemu.json' with { type: 'json' };

const scalarFacts = {
  type: z.enum(['string', 'integer', 'number', 'boolean']).optional(),
  enum: z.array(z.string()).optional(),
  /** JavaScript source, to be used unparenthesised between `^` and `$` as PVE does. */
  pattern: z.string().optional(),
  format: z.string().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  maxLength: z.number().optional(),
};

const propertyFacts = z.strictObject({
  ...scalarFacts,
  alias: z.string().optional(),
  /** `e1000=MAC` sets `model` to `e1000` and the alias to the MAC. */
  keyAlias: z.string().optional(),
  requires: z.string().optional(),
  isDefaultKey: z.boolean().optional(),
  isRequired: z.boolean().optional(),
});

const properties = z.record(z.string(), propertyFacts);

const tableSchema = z.strictObject({
  generated: z.string(),
  options: z.record(
    z.string(),
    z.strictObject({ ...scalarFacts, properties: properties.optional() }),
  ),
  formats: z.record(z.string(), z.strictObject({ properties })),
});

/** What holds of a value, whether it is an option's or one property's. */
export type ScalarFacts = Pick<z.infer<typeof propertyFacts>, keyof typeof scalarFacts>;
export type PropertyFacts = z.infer<typeof propertyFacts>;

/** The properties of a property string (`a=1,b=2`). */
export interface PropertyFormat {
  readonly properties: ReadonlyMap<string, PropertyFacts>;
  /** The property a part without `=` belongs to. */
  readonly defaultKey: string | null;
}

export interface Option {
  /** The name without its number: `net` of `net0`. */
  readonly family: string;
  readonly facts: ScalarFacts;
  readonly format: PropertyFormat | null;
}

type Table = ReadonlyMap<string, Option>;

/** How many PVE 9 takes of each numbered option (`net99` is refused: put_bad_params). */
const FAMILY_SIZES: Readonly<Record<GuestKind, Readonly<Record<string, number>>>> = {
  qemu: {
    net: 32,
    ide: 4,
    sata: 6,
    scsi: 31,
    virtio: 16,
    unused: 256,
    usb: 14,
    hostpci: 16,
    serial: 4,
    parallel: 3,
    numa: 8,
    ipconfig: 32,
    virtiofs: 10,
  },
  lxc: { net: 32, mp: 256, dev: 256, unused: 256 },
};

function toFormat(entries: Readonly<Record<string, PropertyFacts>>): PropertyFormat {
  const found = Object.entries(entries);
  return {
    properties: new Map(found),
    defaultKey: found.find(([, facts]) => facts.isDefaultKey === true)?.[0] ?? null,
  };
}

function readTable(kind: GuestKind, json: unknown): Table {
  const { options, formats } = tableSchema.parse(json);
  const table = new Map<string, Option>();
  for (const [name, { properties: inline, ...facts }] of Object.entries(options)) {
    const found = inline ?? formats[facts.format ?? '']?.properties;
    const family = name.replace('[n]', '');
    const option = { family, facts, format: found === undefined ? null : toFormat(found) };
    if (family === name) table.set(name, option);
    const size = family === name ? 0 : (FAMILY_SIZES[kind][family] ?? 0);
    for (let index = 0; index < size; index += 1) table.set(`${family}${index}`, option);
  }
  return table;
}

const TABLES: Readonly<Record<GuestKind, Table>> = {
  qemu: readTable('qemu', qemuTable),
  lxc: readTable('lxc', lxcTable),
};

/** Null: PVE 9 has no such option for that kind of guest. */
export function findOption(kind: GuestKind, key: string): Option | null {
  return TABLES[kind].get(key) ?? null;
}

export function optionNames(kind: GuestKind): Iterable<string> {
  return TABLES[kind].keys();
}
