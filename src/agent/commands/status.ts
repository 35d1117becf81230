/**
 * `status [REF…]`: a row per guest. Looks for itself: reads the node, the documents and the
 * journal, changes nothing.
 */
import { openReader } from '../../journal/reader.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import { type CommandContext, printFailure, printJson } from '../command.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { type GuestView, newestByGuest, viewGuests } from '../guest-view.ts';
import { desiredProblems } from '../last-look.ts';
import { assertSighted, openSession, type Session } from '../session.ts';
import { systemClock } from '../system.ts';
import { type Column, formatTable } from '../table.ts';
import { type Channel, type Colour, printable } from '../terminal.ts';
import { resolveRefs } from './plan.ts';

const WATCH_INTERVAL_MS = 2_000;
/** Back to the top left, and everything below it gone. */
const CLEAR = '\u001B[H\u001B[J';

const COLUMNS: readonly Column[] = [
  { title: 'VMID' },
  { title: 'NAME', isFlexible: true },
  { title: 'KIND' },
  { title: 'DESIRED' },
  { title: 'ACTUAL' },
  { title: 'DRIFT' },
  { title: 'PHASE' },
  { title: 'LAST OP' },
  { title: 'CONDITIONS', isFlexible: true },
];
const DRIFT_COLUMN = 5;

export async function runStatus(
  context: CommandContext,
  { refs, watch = false }: { readonly refs: readonly string[]; readonly watch?: boolean },
): Promise<ExitCode> {
  const { terminal, signal } = context;
  await using session = await openSession(context.configFile, { access: 'read' });
  terminal.err.line(terminal.err.paint('dim', 'a look of our own: the agent was not asked'));
  const only = await resolveRefs(session, refs, signal);
  if (!watch) return await showOnce(context, session, only);
  const over = AbortSignal.any([signal, terminal.out.closed]);
  while (!over.aborted) {
    if (terminal.out.isTerminal && !context.isJson) terminal.out.line(CLEAR);
    await showOnce(context, session, only);
    await systemClock.sleep(WATCH_INTERVAL_MS, over);
  }
  return EXIT.ok;
}

async function showOnce(
  { terminal, isJson }: CommandContext,
  session: Session,
  only: ReadonlySet<Vmid> | null,
): Promise<ExitCode> {
  const plan = await session.engine.plan(only === null ? {} : { only });
  assertSighted(session);
  const { desired, actual } = session.looks;
  const ops = await openReader(session.config.stateDir).listOps();
  const inFlight = session.ledger.opsInFlight();
  const guests = viewGuests({ plan, desired, actual, inFlight, lastOps: newestByGuest(ops) });
  const shown = only === null ? guests : guests.filter(({ vmid }) => only.has(vmid));
  if (isJson) printJson(terminal, { source: 'look', guests: shown });
  else for (const line of statusLines(shown, terminal.out)) terminal.out.line(line);
  const problems = desiredProblems(desired);
  for (const { code, message } of problems) printFailure(terminal, { code, message });
  return problems.length === 0 ? EXIT.ok : EXIT.failed;
}

function statusLines(guests: readonly GuestView[], out: Channel): string[] {
  const rows = guests.map((guest) => [
    `${guest.vmid}`,
    guest.name === null ? '' : printable(guest.name),
    guest.kind ?? '?',
    guest.desired === null ? '-' : desiredText(guest.desired),
    guest.actual === null ? 'absent' : actualText(guest.actual),
    DRIFT_TEXTS[guest.status ?? 'none'],
    guest.phase,
    guest.last_op === null ? '' : `${guest.last_op.kind} ${guest.last_op.state}`,
    guest.conditions
      .map(({ code, message }) => printable(`${String(code)}: ${String(message)}`))
      .join('; '),
  ]);
  const paint = (text: string, column: number, row: readonly string[] | null): string => {
    if (row === null) return out.paint('bold', text);
    return column === DRIFT_COLUMN ? out.paint(DRIFT_COLOURS[text] ?? 'dim', text) : text;
  };
  return formatTable(COLUMNS, rows, { width: out.columns, paint });
}

const DRIFT_TEXTS = {
  in_sync: 'in sync',
  drift: 'differs',
  skipped: 'skipped',
  unknown: 'unknown',
  none: '-',
} as const;
const DRIFT_COLOURS: Readonly<Record<string, Colour>> = {
  'in sync': 'green',
  differs: 'yellow',
  unknown: 'red',
};

function desiredText({ power, mode }: NonNullable<GuestView['desired']>): string {
  return mode === 'enforce' ? power : `${power} (${mode})`;
}

function actualText({ power, lock, template }: NonNullable<GuestView['actual']>): string {
  if (template) return 'template';
  return lock === null ? power : `${power} (${lock})`;
}
