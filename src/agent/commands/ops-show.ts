/** `ops show ID`: one op as a story, from its first record to its last. */
import { openReader } from '../../journal/reader.ts';
import { isTerminal, type OpRecord } from '../../reconcile/op.ts';
import type { Receipt } from '../../reconcile/receipt.ts';
import { type CommandContext, printJson } from '../command-line/command.ts';
import { loadConfig } from '../config/config.ts';
import { describeOp, type WaitDocument } from '../control/op-document.ts';
import { readReceipt, receiptDocument } from '../control/op-receipt.ts';
import { recordsOf } from '../control/op-ref.ts';
import { ERROR_TABLE, EXIT, type ExitCode } from '../errors.ts';
import {
  actionText,
  atMs,
  durationText,
  logLines,
  recordText,
  STATE_COLOURS,
} from '../terminal/op-text.ts';
import { askWhyItWaits, waitText } from '../terminal/op-wait.ts';
import { type Channel, printable } from '../terminal/terminal.ts';

const STATE_CHARS = 'task_running'.length;
const STEP_CHARS = 10;

export async function runOpsShow(
  { terminal, isJson, configFile }: CommandContext,
  { id }: { readonly id: string },
): Promise<ExitCode> {
  const { stateDir, control } = await loadConfig(configFile);
  const reader = openReader(stateDir);
  const found = await reader.readOp(id);
  const records = recordsOf(id, found);
  const receipt = await readReceipt(records, found, reader);
  const latest = records.at(-1) ?? records[0];
  const isOver = isTerminal(latest.state);
  const wait = isOver ? null : await askWhyItWaits(control.socket, latest.op_id);
  if (isJson) {
    const document = describeOp(records, wait === 'unknown' ? null : wait);
    printJson(terminal, { ...document, receipt: receiptDocument(receipt) });
    return EXIT.ok;
  }
  const { out } = terminal;
  for (const line of storyLines(records, out)) out.line(line);
  for (const line of receiptLines(receipt)) out.line(`  ${line}`);
  for (const line of nextLines(latest, wait)) out.line(`  ${line}`);
  return EXIT.ok;
}

/** Where its time went, and what became of a restart's parts. */
function receiptLines({ phases, parts }: Receipt): string[] {
  const times = [
    ['waited', phases.waitedMs],
    ['request', phases.requestMs],
    ['task', phases.taskMs],
  ] as const;
  const spent = times.flatMap(([name, ms]) => (ms === null ? [] : `${name} ${durationText(ms)}`));
  return [
    ...(spent.length === 0 ? [] : [`time: ${spent.join(', ')}`]),
    ...parts.map(({ opId, kind, outcome, message, phases: { totalMs } }) => {
      return `part: ${kind} ${outcome} after ${durationText(totalMs)} (${printable(message)})  ${opId}`;
    }),
  ];
}

/** What it waits for, and what to do. */
function nextLines(
  { op_id, state, error }: OpRecord,
  wait: WaitDocument | null | 'unknown',
): string[] {
  // The end of a failed task's log stands above.
  if (error?.code === 'task_failed') return [];
  if (error !== undefined && state === 'failed') return [`next: ${ERROR_TABLE[error.code].hint}`];
  if (isTerminal(state)) return [];
  if (wait === 'unknown') {
    return ['next: no agent is running; the next start takes it up from here'];
  }
  const why = wait === null ? [] : [waitText(wait)];
  const how = state === 'received' ? `or end it: pve-reconciler ops cancel ${op_id}` : '';
  return [
    ...why,
    `next: watch it: pve-reconciler ops wait ${op_id}${how === '' ? '' : `, ${how}`}`,
  ];
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
