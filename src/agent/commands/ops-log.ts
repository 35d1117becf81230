/**
 * `ops log ID [--follow]`: an op's steps, as they stand in the journal, and with `--follow` those
 * that come until it ends. Reads the files: it needs no agent, but one that runs says why it waits.
 */
import { type JournalReader, openReader } from '../../journal/reader.ts';
import { tailJournal } from '../../journal/tail.ts';
import { isTerminal, type OpRecord } from '../../reconcile/op.ts';
import { type CommandContext, printJson } from '../command-line/command.ts';
import { loadConfig } from '../config/config.ts';
import { recordsOf } from '../control/op-ref.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { systemClock } from '../system.ts';
import { atMs, durationText, logLines, recordText, STATE_COLOURS } from '../terminal/op-text.ts';
import { askWhyItWaits, waitText } from '../terminal/op-wait.ts';
import type { Channel } from '../terminal/terminal.ts';

const STATE_CHARS = 'task_running'.length;
const STEP_CHARS = 10;

export async function runOpsLog(
  context: CommandContext,
  { id, follow = false }: { readonly id: string; readonly follow?: boolean },
): Promise<ExitCode> {
  const { terminal, isJson, configFile, signal } = context;
  const { stateDir, control } = await loadConfig(configFile);
  const reader = openReader(stateDir);
  const records = recordsOf(id, await reader.readOp(id));
  const show = createLog(terminal.out, isJson);
  for (const record of records) show(record);
  let latest = records.at(-1) ?? records[0];
  const over = AbortSignal.any([signal, terminal.out.closed]);
  const hasEnded = follow ? await isOver(latest, reader, over) : isTerminal(latest.state);
  if (hasEnded) return EXIT.ok;
  if (!isJson) await showWait(control.socket, latest, terminal.err);
  if (!follow) return EXIT.ok;
  const lines = LINES_AGAIN;
  const tail = tailJournal(reader, { lines, follow, clock: systemClock, signal: over });
  for await (const { record } of tail) {
    if (record.kind !== 'op' || record.op.op_id !== latest.op_id) continue;
    if (record.op.seq <= latest.seq) continue;
    latest = record.op;
    show(latest);
    if (await isOver(latest, reader, over)) break;
  }
  return EXIT.ok;
}

/** Is it the op's end? A failed attempt is, unless another follows. */
async function isOver(
  { op_id, state, attempt, seq }: OpRecord,
  reader: JournalReader,
  signal: AbortSignal,
): Promise<boolean> {
  if (state !== 'failed' || attempt === 0) return isTerminal(state);
  // The next one's beginning comes in the same write, but the two may be read apart.
  await systemClock.sleep(READ_APART_MS, signal);
  const found = await reader.readOp(op_id);
  return found.kind !== 'found' || found.records.at(-1)?.seq === seq;
}

/** Records that may have come between the two reads. */
const LINES_AGAIN = 1_000;
/** Longer than one write takes to be seen as a whole. */
const READ_APART_MS = 200;

function createLog(out: Channel, isJson: boolean): (record: OpRecord) => void {
  let previousMs: number | null = null;
  return (record) => {
    if (isJson) return printJson({ out, err: out }, record);
    const step = previousMs === null ? '' : `+${durationText(atMs(record) - previousMs)}`;
    previousMs = atMs(record);
    const state = out.paint(STATE_COLOURS[record.state], record.state.padEnd(STATE_CHARS));
    const text = recordText(record);
    out.line(`${record.at}  ${step.padStart(STEP_CHARS)}  ${state}  ${text}`.trimEnd());
    for (const line of logLines(record)) out.line(`    ${out.paint('dim', line)}`);
  };
}

async function showWait(socket: string, { op_id }: OpRecord, err: Channel): Promise<void> {
  const wait = await askWhyItWaits(socket, op_id);
  if (wait === 'unknown') return err.line('no agent to ask why it waits');
  if (wait !== null) err.line(waitText(wait));
}
