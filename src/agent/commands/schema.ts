/**
 * `schema`: the JSON Schema of desired-state files, for editors. Beyond what a document may hold
 * it names the options PVE knows, so that they are completed; others are not refused.
 */
import { z } from 'zod';
import { findOption, optionNames } from '../../proxmox/values/options.ts';
import { documentSchema } from '../../reconcile/desired.ts';
import type { GuestKind } from '../../reconcile/guest.ts';
import { type CommandContext, printJson } from '../command-line/command.ts';
import { EXIT, type ExitCode } from '../errors.ts';

type JsonSchema = z.core.JSONSchema.BaseSchema;

/** Of numbered options (`net0`) only the first few are offered: the rest is known from them. */
const LARGEST_NUMBER_OFFERED = 3;
const VALUE_REF = '#/$defs/value';

export async function runSchema({ terminal }: CommandContext): Promise<ExitCode> {
  let value: JsonSchema['additionalProperties'];
  const { $schema, ...schema } = z.toJSONSchema(documentSchema, {
    io: 'input',
    override({ jsonSchema, path }) {
      if (path.at(-1) === 'guests') jsonSchema.propertyNames = { pattern: '^[1-9][0-9]{2,8}$' };
      // It is called again on what it made.
      if (path.at(-1) !== 'config' || jsonSchema.properties !== undefined) return;
      value = jsonSchema.additionalProperties;
      jsonSchema.additionalProperties = { $ref: VALUE_REF };
      jsonSchema.properties = describeOptions();
    },
  });
  const $defs = { value };
  printJson(terminal, { $schema, title: 'pve-reconciler desired state', ...schema, $defs });
  return EXIT.ok;
}

function describeOptions(): Record<string, JsonSchema> {
  return Object.fromEntries(
    [...kindsByOption()].map(([key, kinds]) => [
      key,
      { $ref: VALUE_REF, description: noteOf(key, kinds) },
    ]),
  );
}

function kindsByOption(): Map<string, GuestKind[]> {
  const kinds = new Map<string, GuestKind[]>();
  for (const kind of ['qemu', 'lxc'] as const) {
    for (const key of optionNames(kind)) {
      const number = Number(/(?<!\d)\d+$/.exec(key)?.[0] ?? 0);
      if (number <= LARGEST_NUMBER_OFFERED) kinds.set(key, [...(kinds.get(key) ?? []), kind]);
    }
  }
  return kinds;
}

/** `qemu: virtio-scsi-pci, lsi, …`: what an editor shows beside the key. */
function noteOf(key: string, kinds: readonly GuestKind[]): string {
  const values = kinds.flatMap((kind) => findOption(kind, key)?.facts.enum ?? []);
  const choice = values.length === 0 ? '' : `: ${[...new Set(values)].join(', ')}`;
  return `${kinds.join(', ')}${choice}`;
}
