/** `ops list`: the journal's ops, newest first. Reads the files; needs neither agent nor lock. */
import { findMissing } from '../../journal/missing.ts';
import { openReader } from '../../journal/reader.ts';
import { parseDurationMs } from '../../reconcile/desired.ts';
import { type OpId, parseVmid, type Vmid } from '../../reconcile/ids.ts';
import { isTerminal, type OpRecord } from '../../reconcile/op.ts';
import { type CommandContext, printJson, usageError } from '../command-line/command.ts';
import { loadConfig } from '../config/config.ts';
import { describeOp, type WaitDocument } from '../control/op-document.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { systemClock } from '../system.ts';
import { actionText, STATE_COLOURS } from '../terminal/op-text.ts';
import { askWhyOpsWait, whyText } from '../terminal/op-wait.ts';
import { type Column, formatTable } from '../terminal/table.ts';
import { printable } from '../terminal/terminal.ts';

export interface OpsListOptions {
  readonly inFlight?: boolean;
  readonly failed?: boolean;
  readonly guest?: string;
  readonly since?: string;
  readonly limit: string;
}

const COLUMNS: readonly Column[] = [
  { title: 'OP' },
  { title: 'GUEST' },
  { title: 'DOES', isFlexible: true, leftOut: 4 },
  { title: 'ORIGIN', leftOut: 1 },
  { title: 'STATE' },
  { title: 'SINCE', leftOut: 2 },
  { title: 'WHY', isFlexible: true, leftOut: 3 },
];
const STATE_COLUMN = 4;

export async function runOpsList(
  context: CommandContext,
  options: OpsListOptions,
): Promise<ExitCode> {
  if (options.inFlight === true && options.failed === true) {
    throw usageError('--in-flight and --failed exclude each other');
  }
  const since = options.since === undefined ? {} : { sinceMs: parseSince(options.since) };
  const limit = parseLimit(options.limit);
  const { stateDir, control } = await loadConfig(context.configFile);
  const guest = options.guest === undefined ? {} : { vmid: await findVmid(context, options.guest) };
  const reader = openReader(stateDir);
  let unreadable = 0;
  const ops = await reader.listOps({
    state: options.inFlight === true ? 'in_flight' : options.failed === true ? 'failed' : 'all',
    ...since,
    ...guest,
    // One more says whether there are others.
    limit: limit + 1,
    onUnreadable: () => {
      unreadable += 1;
    },
  });
  const shown = ops.slice(0, limit);
  const isAnyInFlight = shown.some(({ state }) => !isTerminal(state));
  const waits = isAnyInFlight ? await askWhyOpsWait(control.socket) : NO_WAITS;
  show(context, shown, waits);
  const missing = await findMissing(reader);
  const damage = unreadable === 0 ? missing : `${unreadable} of its lines cannot be read`;
  if (damage !== null) {
    const note = `the journal is not whole: ${damage}; see \`pve-reconciler journal verify\``;
    context.terminal.err.line(`note: ${note}`);
  }
  if (ops.length > limit) {
    context.terminal.err.line(`the newest ${limit}; older ones with --limit N, or see --since`);
  }
  return EXIT.ok;
}

const NO_WAITS: ReadonlyMap<OpId, WaitDocument> = new Map();

function show(
  { terminal: { out }, ...context }: CommandContext,
  ops: readonly OpRecord[],
  waits: ReadonlyMap<OpId, WaitDocument>,
): void {
  const waitOf = ({ op_id }: OpRecord): WaitDocument | null => waits.get(op_id) ?? null;
  if (context.isJson) {
    return printJson({ out, err: out }, { ops: ops.map((op) => describeOp([op], waitOf(op))) });
  }
  if (ops.length === 0) return out.line('no ops');
  const rows = ops.map((op) => [
    op.op_id,
    `${op.vmid}`,
    actionText(op),
    op.origin,
    op.state,
    op.at.replace(/\.\d+Z$/, 'Z'),
    whyOf(op, waitOf(op)),
  ]);
  const states = new Map(ops.map((op) => [op.op_id as string, op.state]));
  const paint = (text: string, column: number, row: readonly string[] | null): string => {
    if (row === null) return out.paint('bold', text);
    const state = states.get(row[0] ?? '');
    return column === STATE_COLUMN && state !== undefined
      ? out.paint(STATE_COLOURS[state], text)
      : text;
  };
  for (const line of formatTable(COLUMNS, rows, { width: out.columns, paint })) out.line(line);
}

/** Of an op in flight why it waits: a failed try of it is in its past. */
function whyOf({ error, state }: OpRecord, wait: WaitDocument | null): string {
  if (wait !== null && !isTerminal(state)) return whyText(wait);
  return error === undefined ? '' : printable(`${error.code}: ${error.message}`);
}

/** A time (RFC 3339), or how long ago. */
function parseSince(text: string): number {
  const agoMs = parseDurationMs(text);
  const sinceMs = agoMs === null ? Date.parse(text) : systemClock.now() - agoMs;
  if (Number.isFinite(sinceMs)) return sinceMs;
  throw usageError(`--since: expected a time like 2026-01-31T12:00:00Z or a duration like 2h`);
}

function parseLimit(text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw usageError('--limit: expected a number from 1 to 9999999');
}

/** A whole vmid is taken as it is; a name is looked up at the node. */
async function findVmid(context: CommandContext, ref: string): Promise<Vmid> {
  const vmid = parseVmid(ref);
  if (vmid !== null) return vmid;
  const { openSession } = await import('../daemon/session.ts');
  const { resolveRefs } = await import('./plan.ts');
  await using session = await openSession(context.configFile, { access: 'read' });
  const [found] = (await resolveRefs(session, [ref], context.signal)) ?? [];
  if (found === undefined) throw usageError(`--guest: ${JSON.stringify(ref)} names no guest`);
  return found;
}
