/** `journal tail`: the newest records, and with `--follow` those that come. */
import { openReader } from '../../journal/reader.ts';
import { type TailLine, tailJournal } from '../../journal/tail.ts';
import { type CommandContext, usageError } from '../command-line/command.ts';
import { loadConfig } from '../config/config.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { systemClock } from '../system.ts';
import { actionText, recordText, STATE_COLOURS } from '../terminal/op-text.ts';
import { type Channel, printable } from '../terminal/terminal.ts';

const STATE_CHARS = 'task_running'.length;

export async function runJournalTail(
  { terminal: { out }, isJson, configFile, signal }: CommandContext,
  { follow = false, lines }: { readonly follow?: boolean; readonly lines: string },
): Promise<ExitCode> {
  if (!/^\d{1,7}$/.test(lines)) throw usageError('--lines: expected a number');
  const { stateDir } = await loadConfig(configFile);
  const tail = tailJournal(openReader(stateDir), {
    lines: Number(lines),
    follow,
    clock: systemClock,
    signal: AbortSignal.any([signal, out.closed]),
  });
  for await (const line of tail) out.line(isJson ? line.text : readableLine(line, out));
  return EXIT.ok;
}

function readableLine({ record, text }: TailLine, out: Channel): string {
  if (record.kind !== 'op') return out.paint('dim', printable(text));
  const { op } = record;
  const state = out.paint(STATE_COLOURS[op.state], op.state.padEnd(STATE_CHARS));
  const details = recordText(op);
  const end = details === '' ? '' : `: ${details}`;
  return `${op.seq}  ${op.at}  ${op.op_id}  ${op.vmid}  ${state}  ${actionText(op)}${end}`;
}
