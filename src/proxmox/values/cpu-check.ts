/** What PVE requires of `cpu` beyond its schema: a model it knows, and flags a VM may have. */
import { findOption } from './options.ts';
import type { Properties } from './property-string.ts';

/** PVE's own models; the others are QEMU's, and stand in the table as `reported-model`. */
const OWN_MODEL = /^x86-64-v[1-4](?:-AES)?$/;

/** Flags that may be set per VM; a custom model may have any (PVE's error text lists them). */
const VM_FLAGS = new Set([
  'aes',
  'amd-no-ssb',
  'amd-ssbd',
  'hv-evmcs',
  'hv-tlbflush',
  'ibpb',
  'md-clear',
  'nested-virt',
  'pcid',
  'pdpe1gb',
  'spec-ctrl',
  'ssbd',
  'virt-ssbd',
]);

function isKnownModel(model: string): boolean {
  if (model.startsWith('custom-') || OWN_MODEL.test(model)) return true;
  const models = findOption('qemu', 'cpu')?.format?.properties.get('reported-model')?.enum;
  return models === undefined || models.includes(model);
}

/** Null, or why PVE refuses these properties of `cpu`, all valid one by one. */
export function checkCpu(properties: Properties): string | null {
  const model = properties.get('cputype');
  // Optional in the schema: in a custom model's definition it stands in the heading.
  if (model === undefined) return 'cputype is missing';
  if (!isKnownModel(model)) return `there is no CPU model ${model}`;
  if (properties.has('reported-model')) return 'reported-model belongs to custom models';
  for (const flag of properties.get('flags')?.split(';') ?? []) {
    if (!VM_FLAGS.has(flag.slice(1))) return `${flag.slice(1)} is no CPU flag of a VM`;
  }
  return null;
}
