/** `ops show ID`: one op as a story, from its first record to its last. */
import { openReader } from '../../journal/reader.ts';
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { OpRecord } from '../../reconcile/op.ts';
import { type CommandContext, printJson } from '../command.ts';
import { loadConfig } from '../config.ts';
import { describeOp } from '../control/op-document.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { actionText, atMs, durationText, logLines, recordText, STATE_COLOURS } from '../op-text.ts';
import { type Channel, printable } from '../terminal.ts';

const STATE_CHARS = 'task_running'.length;
const STEP_CHARS = 10;

export async function runOpsShow(
  { terminal, isJson, configFile }: CommandContext,
  { id }: { readonly id: string },
): Promise<ExitCode> {
  const { stateDir } = await loadConfig(configFile);
  const found = await openReader(stateDir).readOp(id);
  if (found.kind === 'ambiguous') {
    const message = `${id} could be ${found.candidates.join(', ')}`;
    throw new ReconcilerError('ambiguous_ref', message, { hint: 'type more of the op id' });
  }
  const [first, ...others] = found.kind === 'found' ? found.records : [];
  if (found.kind === 'none' || first === undefined) {
    const hint = '`pve-reconciler ops list` lists the ops there are';
    throw new ReconcilerError('not_found', `no op has the id ${printable(id)}`, { hint });
  }
  const records = [first, ...others] as const;
  if (isJson) {
    const parts = found.parts.length === 0 ? {} : { parts: found.parts };
    printJson(terminal, { ...describeOp(records, null), ...parts });
  } else {
    for (const line of storyLines(records, terminal.out)) terminal.out.line(line);
    if (found.parts.length > 0) terminal.out.line(`  parts: ${found.parts.join(', ')}`);
  }
  return EXIT.ok;
}

function storyLines(records: readonly [OpRecord, ...OpRecord[]], out: Channel): string[] {
  const [first] = records;
  const latest = records.at(-1) ?? first;
  const total = durationText(atMs(latest) - atMs(first));
  const who = first.actor === undefined ? first.origin : `${first.origin}, ${first.actor}`;
  const lines = [
    `${out.paint('bold', first.op_id)}  ${actionText(first)} of ${first.guest_kind} ${first.vmid}, by ${printable(who)}`,
    `${out.paint(STATE_COLOURS[latest.state], latest.state)} after ${total}, attempt ${latest.attempt}`,
    ...detailLines(first),
  ];
  let previousMs = atMs(first);
  for (const record of records) {
    const step = record === first ? '' : `+${durationText(atMs(record) - previousMs)}`;
    previousMs = atMs(record);
    const state = out.paint(STATE_COLOURS[record.state], record.state.padEnd(STATE_CHARS));
    const text = recordText(record);
    lines.push(`  ${record.at}  ${step.padStart(STEP_CHARS)}  ${state}  ${text}`.trimEnd());
    for (const line of logLines(record)) lines.push(`      ${out.paint('dim', line)}`);
  }
  return lines;
}

function detailLines(first: OpRecord): string[] {
  const details = [
    ['correlation', first.correlation_id],
    ['part of', first.parent_op_id],
    ['key', first.idemp_key],
    ['signed by', first.signers?.map(({ keyid }) => keyid).join(', ')],
    ...changeDetails(first),
  ] as const;
  return details
    .filter(([, text]) => text !== undefined)
    .map(([name, text]) => `  ${name}: ${printable(String(text))}`);
}

/** What a set_config changes, from what to what. */
function changeDetails({ params, before }: OpRecord): (readonly [string, string])[] {
  if (params === undefined || !('set' in params)) return [];
  const was = (key: string): string => {
    const value = before?.values?.[key];
    return value === undefined ? '?' : (value ?? '(not set)');
  };
  return [
    ...Object.entries(params.set).map(([key, value]) => [key, `${was(key)} → ${value}`] as const),
    ...params.delete.map((key) => [key, `${was(key)} → (not set)`] as const),
  ];
}
