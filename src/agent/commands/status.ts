/**
 * `status [REF…]`: a row per guest, as the running agent sees it. Without one it looks for itself:
 * reads the node, the documents and the journal, changes nothing, and says so.
 */

import type { z } from 'zod';
import { openReader } from '../../journal/reader.ts';
import {
  type CommandContext,
  type Failure,
  printFailure,
  printJson,
} from '../command-line/command.ts';
import { type Config, loadConfig } from '../config/config.ts';
import { pauseOf } from '../control/agent-view.ts';
import { API } from '../control/api.ts';
import type { ControlClient } from '../control/client.ts';
import { pauseDocument } from '../control/documents.ts';
import { findAgent } from '../control/find-agent.ts';
import {
  type GuestView,
  LAST_OPS_READ_MAX,
  newestByGuest,
  viewGuests,
} from '../control/guest-view.ts';
import { desiredProblems, unseenHint } from '../daemon/last-look.ts';
import { assertSighted, openSession } from '../daemon/session.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { systemClock } from '../system.ts';
import { whyText } from '../terminal/op-wait.ts';
import { type Column, formatTable } from '../terminal/table.ts';
import { type Channel, type Colour, printable } from '../terminal/terminal.ts';
import { resolveRefs } from './plan.ts';

const WATCH_INTERVAL_MS = 2_000;
/** What is younger is called now. */
const AGO_SHOWN_MS = 1_500;
/** Back to the top left, and everything below it gone. */
const CLEAR = '\u001B[H\u001B[J';

/** Every code in full: it is what the tables of docs/OPERATING.md go by. */
const CODE_CHARS = 20;

const COLUMNS: readonly Column[] = [
  { title: 'VMID' },
  { title: 'NAME', isFlexible: true },
  { title: 'KIND', leftOut: 2 },
  { title: 'DESIRED', leftOut: 4 },
  { title: 'ACTUAL', leftOut: 5 },
  { title: 'DRIFT' },
  { title: 'PHASE', leftOut: 3 },
  { title: 'LAST OP', leftOut: 1 },
  { title: 'CONDITIONS', isFlexible: true, least: CODE_CHARS },
];
const DRIFT_COLUMN = 5;

interface Status {
  readonly source: 'agent' | 'look';
  readonly guests: readonly GuestView[];
  readonly problems: readonly Failure[];
  /** Of all reconciling. */
  readonly pause: z.infer<typeof pauseDocument>;
  /** What the hub's part of the agent has to say; null: nothing is wrong, or nobody knows. */
  readonly hubTrouble: string | null;
  /** When the node was looked at (RFC 3339), and how long ago that is; null: not yet. */
  readonly looked: { readonly at: string; readonly agoMs: number } | null;
}

export async function runStatus(
  context: CommandContext,
  { refs, watch = false }: { readonly refs: readonly string[]; readonly watch?: boolean },
): Promise<ExitCode> {
  const { terminal, signal } = context;
  const config = await loadConfig(context.configFile);
  await using opened = new AsyncDisposableStack();
  const agent = opened.use(await findAgent(config.control.socket));
  const read =
    agent === null
      ? await lookOurselves(context, refs, opened)
      : (): Promise<Status> => askAgent(agent, refs, config);
  if (!watch) return show(context, await read());
  const over = AbortSignal.any([signal, terminal.out.closed]);
  while (!over.aborted) {
    const status = await read();
    if (terminal.out.isTerminal && !context.isJson) terminal.out.line(CLEAR);
    show(context, status);
    await systemClock.sleep(WATCH_INTERVAL_MS, over);
  }
  return EXIT.ok;
}

async function askAgent(
  agent: ControlClient,
  refs: readonly string[],
  config: Config,
): Promise<Status> {
  const { guests, looked_at: at } = await agent.call(API.listGuests);
  const { readiness, pause, now, parts } = await agent.call(API.getAgent);
  const named = refs.map((ref) => agent.call(API.getGuest, { params: { ref } }));
  const only = new Set((await Promise.all(named)).map(({ vmid }) => vmid));
  const shown = refs.length === 0 ? guests : guests.filter(({ vmid }) => only.has(vmid));
  const looked = at === null ? null : { at, agoMs: Date.parse(now) - Date.parse(at) };
  const problems = readiness.reasons.map(({ code, message, hint }) => {
    return { code, message, hint: hint ?? unseenHint(code, config) };
  });
  const hubTrouble = parts.find(({ name, ok }) => name === 'hub' && !ok)?.message ?? null;
  return { source: 'agent', guests: shown, problems, pause, hubTrouble, looked };
}

async function lookOurselves(
  context: CommandContext,
  refs: readonly string[],
  opened: AsyncDisposableStack,
): Promise<() => Promise<Status>> {
  const { err } = context.terminal;
  const session = opened.use(await openSession(context.configFile, { access: 'read' }));
  err.line(err.paint('dim', 'no agent is running: this is a look of our own'));
  const only = await resolveRefs(session, refs, context.signal);
  return async () => {
    const plan = await session.engine.plan(only === null ? {} : { only });
    assertSighted(session);
    const { desired, actual, known } = session.looks;
    const reader = openReader(session.config.stateDir);
    const ops = await reader.listOps({ limit: LAST_OPS_READ_MAX });
    const guests = viewGuests({
      only: null,
      mode: session.config.policy.mode,
      plan,
      desired,
      actual,
      known,
      inFlight: session.ledger.opsInFlight(),
      lastOps: newestByGuest(ops),
      holds: session.ledger.holds(),
      nowMs: systemClock.now(),
      waits: new Map(),
    });
    const shown = only === null ? guests : guests.filter(({ vmid }) => only.has(vmid));
    const looked = { at: new Date(systemClock.now()).toISOString(), agoMs: 0 };
    const pause = pauseDocument.parse(pauseOf({ ledger: session.ledger, clock: systemClock }));
    const problems = desiredProblems(desired);
    return { source: 'look', guests: shown, problems, pause, hubTrouble: null, looked };
  };
}

function show({ terminal, isJson }: CommandContext, status: Status): ExitCode {
  const { source, guests, problems, pause, looked } = status;
  // What was not looked at yet is not a node where all is well.
  const isBlind = (looked === null || guests.length === 0) && problems.length > 0;
  if (isJson) printJson(terminal, { source, looked_at: looked?.at ?? null, pause, guests });
  else if (!isBlind) for (const line of statusLines(status, terminal.out)) terminal.out.line(line);
  const exits = problems.map((problem) => printFailure(terminal, problem));
  if (problems.length === 0) return EXIT.ok;
  // A rejected document is work that failed; a node that cannot be seen comes with its own.
  return exits.find((exit) => exit !== EXIT.badData) ?? EXIT.failed;
}

function statusLines(status: Status, out: Channel): string[] {
  const { guests, problems, pause, hubTrouble, looked } = status;
  const rows = guests.map((guest) => [
    `${guest.vmid}`,
    guest.name === null ? '' : printable(guest.name),
    guest.kind ?? '?',
    guest.desired === null ? '-' : desiredText(guest.desired),
    actualText(guest),
    DRIFT_TEXTS[guest.status ?? 'none'],
    guest.phase,
    guest.last_op === null ? '' : `${guest.last_op.kind} ${guest.last_op.state}`,
    conditionsText(guest),
  ]);
  const paint = (text: string, column: number, row: readonly string[] | null): string => {
    if (row === null) return out.paint('bold', text);
    return column === DRIFT_COLUMN ? out.paint(DRIFT_COLOURS[text] ?? 'dim', text) : text;
  };
  const table = formatTable(COLUMNS, rows, { width: out.columns, paint });
  const ago = looked === null || looked.agoMs < AGO_SHOWN_MS ? '' : ` (${agoText(looked.agoMs)})`;
  const paused = pause.paused ? [out.paint('yellow', pauseText(pause))] : [];
  const summary = summaryLine(guests, problems.length > 0, out);
  const hub = hubTrouble === null ? [] : [out.paint('yellow', printable(`hub: ${hubTrouble}`))];
  return [...table, ...paused, ...hub, summary + out.paint('dim', ago)];
}

function pauseText({ until, reason }: Status['pause']): string {
  const why = reason === null ? '' : `: ${printable(reason)}`;
  return `reconciling is paused ${until === null ? 'until it is resumed' : `until ${until}`}${why}`;
}

function conditionsText({ waiting_for: waiting, conditions }: GuestView): string {
  const isSaid = (condition: GuestView['conditions'][number]): boolean =>
    condition['code'] === waiting?.code && condition['message'] === waiting?.message;
  const others = conditions
    .filter((condition) => !isSaid(condition))
    .map(({ code, message, until }) => {
      const end = typeof until === 'string' ? `, until ${until}` : '';
      return printable(`${String(code)}: ${String(message)}${end}`);
    });
  return [...(waiting === null ? [] : [whyText(waiting)]), ...others].join('; ');
}

/** In sync or not: what somebody who has a second reads. */
function summaryLine(guests: readonly GuestView[], hasErrors: boolean, out: Channel): string {
  const count = (status: GuestView['status']): number =>
    guests.filter((guest) => guest.status === status).length;
  const wanted = guests.length - count(null);
  if (wanted === count('in_sync') && !hasErrors) {
    return out.paint(
      'green',
      wanted === 1
        ? 'in sync: the one wanted guest is as it should be'
        : `in sync: all ${wanted} wanted guests are as they should be`,
    );
  }
  const parts = [
    [count('drift'), count('drift') === 1 ? 'differs' : 'differ'],
    [count('unknown'), 'could not be read'],
    [count('skipped'), 'left alone'],
    [count('in_sync'), 'in sync'],
  ] as const;
  const text = parts.filter(([many]) => many > 0).map(([many, what]) => `${many} ${what}`);
  const all = hasErrors ? [...text, 'see the errors'] : text;
  return out.paint('yellow', `not in sync: ${all.join(', ')}`);
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

function agoText(ms: number): string {
  return `as of ${Math.round(ms / 1000)} s ago`;
}

function actualText({ actual, status }: GuestView): string {
  // Nobody wants it, and it is there: PVE has shown it.
  if (actual === null) return status === 'unknown' || status === null ? '?' : 'absent';
  const { power, lock, template } = actual;
  if (template) return 'template';
  return lock === null ? power : `${power} (${lock})`;
}
