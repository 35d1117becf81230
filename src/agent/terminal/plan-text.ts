/** The plan as people read it: by guest, old → new aligned, the summary last. */
import { assertNever } from '../../reconcile/errors.ts';
import type { Change, Plan, PlanEntry, PlannedAction } from '../../reconcile/plan.ts';
import { summarise } from '../control/plan-document.ts';
import { timeText } from '../time-text.ts';
import { counted } from './counted.ts';
import { actionText } from './op-text.ts';
import { type Channel, type Colour, printable } from './terminal.ts';

const NOT_SET = '(not set)';
const INDENT = '      ';
/** `~ ` before a key, and what is between it and the values. */
const SIGN_CHARS = 4;
/** A value that is longer does not push all the others to the right. */
const OLD_MAX_CHARS = 40;

export function planLines(plan: Plan, channel: Channel): string[] {
  const lines = plan.entries.flatMap((entry) => entryLines(entry, channel));
  return [...lines, ...(lines.length > 0 ? [''] : []), summaryLine(plan)];
}

function entryLines(entry: PlanEntry, channel: Channel): string[] {
  const lines = [headLine(entry, channel)];
  const keyWidth = Math.max(0, ...entry.changes.map(({ key }) => key.length));
  const room = channel.columns - INDENT.length - SIGN_CHARS - keyWidth;
  const beside = entry.changes.filter((change) => pairText(change, 0).length <= room);
  const oldWidth = Math.min(
    OLD_MAX_CHARS,
    Math.max(0, ...beside.map((change) => valueText(change.current).length)),
  );
  for (const change of entry.changes) {
    lines.push(...changeLines(change, { keyWidth, oldWidth, room, channel }));
  }
  for (const action of entry.actions) lines.push(...actionLines(action, entry, channel));
  for (const { code, message, untilMs } of entry.conditions) {
    const until = untilMs === undefined ? '' : `, until ${timeText(untilMs)}`;
    lines.push(`${INDENT}${channel.paint('yellow', '!')} ${code}: ${printable(message)}${until}`);
  }
  return lines;
}

function headLine({ vmid, kind, name, status, mode }: PlanEntry, channel: Channel): string {
  const [colour, text] = statusText(status);
  const suffix = mode === 'enforce' ? '' : ` (${mode})`;
  const guest = [kind, name === null ? null : printable(name)].filter((part) => part !== null);
  const head = `${String(vmid).padStart(5)} ${guest.join(' ')}`;
  return `${channel.paint('bold', head)}  ${channel.paint(colour, text)}${suffix}`;
}

function statusText(status: PlanEntry['status']): [Colour, string] {
  switch (status) {
    case 'in_sync':
      return ['green', 'in sync'];
    case 'drift':
      return ['yellow', 'differs'];
    case 'skipped':
      return ['dim', 'skipped'];
    case 'unknown':
      return ['red', 'unknown'];
    default:
      return assertNever(status);
  }
}

/** Old → new on one line; below each other, in full, where the terminal is too narrow for both. */
function changeLines(
  change: Change,
  layout: {
    readonly keyWidth: number;
    readonly oldWidth: number;
    /** For both values. */
    readonly room: number;
    readonly channel: Channel;
  },
): string[] {
  const { keyWidth, oldWidth, room, channel } = layout;
  const [colour, sign] = changeSign(change);
  const head = `${sign} ${change.key.padEnd(keyWidth)}`;
  const painted = channel.paint(colour, head);
  const pair = pairText(change, oldWidth);
  if (pair.length <= room) return [`${INDENT}${painted}  ${pair}`];
  const gap = ' '.repeat(INDENT.length + head.length);
  return [`${INDENT}${painted}    ${valueText(change.current)}`, `${gap}  → ${newText(change)}`];
}

function pairText(change: Change, oldWidth: number): string {
  return `${valueText(change.current).padEnd(oldWidth)} → ${newText(change)}`;
}

function newText({ desired, isWritten }: Change): string {
  return `${valueText(desired)}${isWritten ? '  (written, waits for a restart)' : ''}`;
}

function changeSign({ current, desired }: Change): [Colour, string] {
  if (current === null) return ['green', '+'];
  return desired === null ? ['red', '-'] : ['yellow', '~'];
}

function valueText(value: string | null): string {
  if (value === null) return NOT_SET;
  return value === '' ? "''" : printable(value);
}

function actionLines(planned: PlannedAction, entry: PlanEntry, channel: Channel): string[] {
  const runs = entry.verdict.kind === 'go';
  const sign = channel.paint(runs ? 'cyan' : 'dim', runs ? '→' : '‖');
  const { action, reversibility, remarks } = planned;
  const note = reversibility === 'benign' ? '' : ` [${reversibility}]`;
  return [
    `${INDENT}${sign} ${actionText(action)}${note}${runs ? '' : ' (held back)'}`,
    ...remarks.map((remark) => `${INDENT}  ${printable(remark)}`),
  ];
}

function summaryLine(plan: Plan): string {
  const { guests, status, held_back, actions } = summarise(plan);
  const work = Object.entries(actions)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => `${count} ${kind}`);
  const parts = [
    ...(status.in_sync > 0 ? [`${status.in_sync} in sync`] : []),
    ...(status.drift > 0 ? [counted(status.drift, 'differs', 'differ')] : []),
    ...(status.skipped > 0 ? [`${status.skipped} skipped`] : []),
    ...(status.unknown > 0 ? [`${status.unknown} unknown`] : []),
    ...(held_back > 0 ? [`${held_back} held back`] : []),
  ];
  const todo = work.length === 0 ? 'nothing to do' : `to do: ${work.join(', ')}`;
  const all = parts.length === 0 ? '' : `: ${parts.join(', ')}`;
  return `${counted(guests, 'guest')}${all}; ${todo}`;
}
