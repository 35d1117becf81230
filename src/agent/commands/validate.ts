/**
 * `validate FILE…`: checks desired-state files and folders without touching anything else. All
 * that can be known offline is checked: the document, every value against what PVE accepts, and
 * that no guest is claimed twice.
 */
import { resolve } from 'node:path';
import { findOption } from '../../proxmox/values/options.ts';
import { createValueSemantics } from '../../proxmox/values/same-value.ts';
import type { DesiredGuest } from '../../reconcile/desired.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import type { ValueSemantics } from '../../reconcile/ports.ts';
import { type CommandContext, printFailure, printJson } from '../command-line/command.ts';
import {
  type Finding,
  findingText,
  type Place,
  pathText,
  wholeFile,
} from '../config/positioned-yaml.ts';
import type { KeyPath } from '../config/schema-issue.ts';
import { readDesiredFile } from '../desired/document.ts';
import { listDocuments } from '../desired/file.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { counted } from '../terminal/counted.ts';
import { printable } from '../terminal/terminal.ts';

interface CheckedFile {
  readonly file: string;
  readonly guests: number;
  readonly findings: readonly Finding[];
}

export async function runValidate(
  context: CommandContext,
  { files }: { readonly files: readonly string[] },
): Promise<ExitCode> {
  const semantics = createValueSemantics();
  const claims = new Map<Vmid, string>();
  const checked: CheckedFile[] = [];
  const empty: string[] = [];
  // A file that is named twice is still one document.
  const seen = new Set<string>();
  for (const path of files) {
    const listing = await listDocuments(path);
    if (listing.kind === 'unreadable') {
      const finding = wholeFile(path, listing.reason);
      checked.push({ file: path, guests: 0, findings: [finding] });
      continue;
    }
    if (listing.files.length === 0) empty.push(path);
    for (const file of listing.files) {
      if (seen.has(resolve(file))) continue;
      seen.add(resolve(file));
      checked.push(await checkFile(file, { semantics, claims }));
    }
  }
  return report(context, checked, empty);
}

async function checkFile(
  file: string,
  { semantics, claims }: { semantics: ValueSemantics; claims: Map<Vmid, string> },
): Promise<CheckedFile> {
  const document = await readDesiredFile(file);
  if (document.kind === 'invalid') return { file, guests: 0, findings: document.findings };
  const findings: Finding[] = [];
  const find = (path: KeyPath, message: string): void => {
    const place: Place = document.placeOf(path);
    findings.push({ file, ...place, path: pathText(path), message });
  };
  for (const guest of document.guests) {
    const claimant = claims.get(guest.vmid);
    if (claimant !== undefined) find(['guests', String(guest.vmid)], `also in ${claimant}`);
    claims.set(guest.vmid, file);
    for (const [key, value] of guest.config) {
      const refusal = value === null ? null : refuseValue(semantics, guest, { key, value });
      if (refusal !== null) find(['guests', String(guest.vmid), 'config', key], refusal);
    }
  }
  return { file, guests: document.guests.length, findings };
}

/** Without a kind in the document, what either kind takes is not refused. */
function refuseValue(
  semantics: ValueSemantics,
  { kind }: DesiredGuest,
  { key, value }: { readonly key: string; readonly value: string },
): string | null {
  if (kind !== null) return semantics.refusal(kind, key, value);
  const kinds = (['qemu', 'lxc'] as const).filter((each) => findOption(each, key) !== null);
  if (kinds.length === 0) return `PVE 9 has no option ${key}`;
  const refusals = kinds.map((each) => semantics.refusal(each, key, value));
  if (refusals.includes(null)) return null;
  const [only = null, ...others] = new Set(refusals);
  return others.length === 0
    ? only
    : kinds.map((each, i) => `as ${each}: ${refusals[i]}`).join('; ');
}

function report(
  { terminal, isJson }: CommandContext,
  checked: readonly CheckedFile[],
  empty: readonly string[],
): ExitCode {
  const findings = checked.flatMap((each) => each.findings);
  if (isJson) {
    printJson(terminal, { valid: findings.length === 0, files: checked });
  } else {
    for (const { file, guests, findings } of checked) {
      if (findings.length > 0) continue;
      terminal.out.line(`${printable(file)}: ok, ${counted(guests, 'guest')}`);
    }
    for (const path of empty) {
      terminal.out.line(`${printable(path)}: ok, no *.yaml, *.yml or *.json in it`);
    }
  }
  if (findings.length === 0) return EXIT.ok;
  const message = findings.map(findingText).join('\n');
  return printFailure(terminal, { code: 'desired_invalid', message, hint: 'mend the document' });
}
