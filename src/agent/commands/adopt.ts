/**
 * `adopt REF…`: writes desired state from what is there now. It changes no guest; with `--to` it
 * writes that one file, and a plan right after is empty.
 */
import { extname } from 'node:path';
import { createValueSemantics } from '../../proxmox/values/same-value.ts';
import type { DesiredState } from '../../reconcile/desired.ts';
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { Guest } from '../../reconcile/guest.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import { type AdoptedGuest, adoptGuest } from '../adopt/adopted-guest.ts';
import { extendDocument } from '../adopt/document-text.ts';
import { findTarget, replaceFile } from '../adopt/write-file.ts';
import { type CommandContext, printJson, usageError } from '../command-line/command.ts';
import { describeIoError, readTextFile } from '../config/text-file.ts';
import { assertSighted, openSession, type Session } from '../daemon/session.ts';
import { actAsCaller } from '../daemon/state-owner.ts';
import { documentProblem, readDesiredFile } from '../desired/document.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { counted } from '../terminal/counted.ts';
import { printable } from '../terminal/terminal.ts';
import { resolveRefs } from './plan.ts';

/** The limit of a document, as it is read (src/agent/desired/document.ts). */
const DOCUMENT_MAX_BYTES = 4 * 1024 * 1024;
/** Nothing in it is secret, and the agent has to read it. */
const DOCUMENT_MODE = 0o644;

export interface AdoptCommandOptions {
  readonly refs: readonly string[];
  readonly all?: boolean;
  readonly observe?: boolean;
  readonly to?: string;
}

export async function runAdopt(
  context: CommandContext,
  { refs, all = false, observe = false, to }: AdoptCommandOptions,
): Promise<ExitCode> {
  if (refs.length === 0 && !all) throw usageError('name guests, or say --all');
  if (refs.length > 0 && all) throw usageError('either guests or --all, not both');
  await using session = await openSession(context.configFile, { access: 'read' });
  const guests = await readGuests(session, refs, context.signal);
  const semantics = createValueSemantics();
  const adopted = guests.map((guest) => {
    if (guest.config.kind === 'known') {
      return adoptGuest(guest, guest.config.config, { semantics, isObserved: observe });
    }
    const why = guest.config.kind === 'unknown' ? guest.config.problem.message : 'not read';
    throw new ReconcilerError('service_unavailable', `the config of ${guest.vmid}: ${why}`);
  });
  actAsCaller();
  const text = await writeDocument(adopted, to ?? null);
  show(context, { adopted, text, to: to ?? null });
  return EXIT.ok;
}

/**
 * With their configs, ascending; those that a document already claims are refused, or skipped.
 * Throws `desired_invalid` where it cannot be known which those are.
 */
async function readGuests(
  session: Session,
  refs: readonly string[],
  signal: AbortSignal,
): Promise<readonly Guest[]> {
  const { looks } = session;
  const only = await resolveRefs(session, refs, signal);
  const desired = looks.desired ?? (await looks.desiredProvider.read(signal));
  assertAllRead(desired);
  const claimed = (vmid: Vmid): boolean =>
    desired.guests.has(vmid) || desired.claimedTwice.has(vmid);
  const listed = await looks.guests.observe({ configs: new Set(), wanted: new Set() }, signal);
  assertSighted(session);
  const taken = [...(only ?? [])].find(claimed);
  if (taken !== undefined) {
    const source = desired.guests.get(taken)?.source ?? 'two documents';
    const hint = 'edit it there, or take it out there first';
    throw new ReconcilerError('conflict', `guest ${taken} is already in ${source}`, { hint });
  }
  const absent = [...(only ?? [])].find((vmid) => !listed.guests.has(vmid));
  if (absent !== undefined) throw new ReconcilerError('not_found', `${absent} is not on this node`);
  const configs = only ?? new Set([...listed.guests.keys()].filter((vmid) => !claimed(vmid)));
  const seen = await looks.guests.observe({ configs, wanted: new Set() }, signal);
  return [...seen.guests.values()]
    .filter(({ vmid }) => configs.has(vmid))
    .sort((a, b) => a.vmid - b.vmid);
}

/** A document that was refused may claim any guest; one that is not there yet claims none. */
function assertAllRead({ rejected }: DesiredState): void {
  const unread = rejected.find(({ problem }) => !isMissing(problem));
  if (unread === undefined) return;
  const hint = 'mend it first: until then nobody knows which guests it claims';
  throw new ReconcilerError('desired_invalid', unread.problem.message, { hint });
}

function isMissing({ message }: { readonly message: string }): boolean {
  return message.endsWith('no such file');
}

/** The text; it is in the file too, where there is one. */
async function writeDocument(
  adopted: readonly AdoptedGuest[],
  file: string | null,
): Promise<string> {
  if (file === null) return extendDocument(null, adopted, { isJson: false });
  const before = await readBefore(file, adopted);
  const text = extendDocument(before, adopted, { isJson: extname(file) === '.json' });
  try {
    await replaceFile(await findTarget(file), text, { mode: DOCUMENT_MODE });
  } catch (error) {
    const message = `${file} cannot be written: ${describeIoError(error)}`;
    throw new ReconcilerError('invalid_request', message, { hint: 'nothing was changed' });
  }
  return text;
}

/** Null: there is no such file yet. Throws `desired_invalid` for one that is no valid document. */
async function readBefore(file: string, adopted: readonly AdoptedGuest[]): Promise<string | null> {
  const read = await readTextFile(file, { maxBytes: DOCUMENT_MAX_BYTES });
  if (read.kind === 'unreadable') {
    if (isMissing(read.problem)) return null;
    throw new ReconcilerError('desired_invalid', `${file}: ${read.problem.message}`);
  }
  const document = await readDesiredFile(file);
  if (document.kind === 'invalid') {
    const { code, message } = documentProblem(document.findings);
    throw new ReconcilerError(code, message);
  }
  const there = new Set(document.guests.map(({ vmid }) => vmid));
  const twice = adopted.find(({ vmid }) => there.has(vmid));
  if (twice === undefined) return read.text;
  throw new ReconcilerError('conflict', `guest ${twice.vmid} is already in ${file}`);
}

function show(
  { terminal, isJson }: CommandContext,
  {
    adopted,
    text,
    to,
  }: {
    readonly adopted: readonly AdoptedGuest[];
    readonly text: string;
    readonly to: string | null;
  },
): void {
  const leftOut = adopted.flatMap((each) => each.leftOut);
  if (isJson) {
    const guests = Object.fromEntries(adopted.map(({ vmid, entry }) => [vmid, entry]));
    printJson(terminal, { file: to, document: { version: 1, guests }, left_out: leftOut });
    return;
  }
  if (to === null) terminal.out.line(text.trimEnd());
  else terminal.out.line(`${counted(adopted.length, 'guest')} written to ${printable(to)}`);
  for (const { vmid, key, why } of leftOut) {
    terminal.err.line(`left out: ${vmid} ${printable(key)}: ${printable(why)}`);
  }
}
