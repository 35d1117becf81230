/** Ops as people read them: a row in a list, a line of progress, a story from first to last. */
import { isTerminal, type OpRecord, type OpState } from '../../reconcile/op.ts';
import { type Colour, printable } from './terminal.ts';

export const STATE_COLOURS: Readonly<Record<OpState, Colour>> = {
  received: 'dim',
  started: 'cyan',
  task_running: 'cyan',
  succeeded: 'green',
  failed: 'red',
};

/** `start`, `stop (shutdown, 60 s, then hard)`, `set_config (cores, -balloon)`: values stay out of lists. */
export function actionText({ kind, params }: Pick<OpRecord, 'kind' | 'params'>): string {
  if (params === undefined) return kind;
  if ('set' in params) {
    const keys = [...Object.keys(params.set), ...params.delete.map((key) => `-${key}`)];
    return `${kind} (${keys.map(printable).join(', ')})`;
  }
  if (!('mode' in params)) return kind;
  const how = params.mode === 'stop' ? 'hard' : `${params.mode}, ${params.timeout_s} s`;
  return `${kind} (${how}${params.force ? ', then hard' : ''})`;
}

/** `0.42 s`, `12.3 s`, `4 m 03 s`, `2 h 05 m`. */
export function durationText(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(2)} s`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${twoDigits(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${twoDigits((seconds % 3600) / 60)} m`;
}

function twoDigits(value: number): string {
  return String(Math.floor(value)).padStart(2, '0');
}

export function atMs(record: Pick<OpRecord, 'at'>): number {
  return Date.parse(record.at);
}

/** When its op began; null: before this record. Recovery takes an op up in the middle. */
export function beginningOf(record: Pick<OpRecord, 'at' | 'state'>): number | null {
  return record.state === 'received' || record.state === 'started' ? atMs(record) : null;
}

/** What a record adds, in words. */
export function recordText(record: OpRecord): string {
  const { state, error, upid, observed, exit_status, before } = record;
  const parts: string[] = [];
  if (state === 'task_running' && upid !== undefined) parts.push(upid);
  if (state === 'started' && before !== undefined) parts.push(`guest was ${before.power}`);
  if (exit_status !== undefined) parts.push(`PVE: ${exit_status}`);
  if (error !== undefined) parts.push(`[${error.code}] ${error.message}`);
  if (isTerminal(state) && observed !== undefined) {
    if (observed.power !== undefined) parts.push(`seen ${observed.power}`);
    if (observed.ha_state !== undefined && observed.ha_state !== null) {
      parts.push(`HA ${observed.ha_state}`);
    }
    const pending = observed.pending ?? [];
    if (pending.length > 0) parts.push(`waits for a restart: ${pending.join(', ')}`);
    if (observed.note !== undefined) parts.push(observed.note);
  }
  return parts.map(printable).join('; ');
}

/** Lines of PVE's own that came with the end. */
export function logLines({ observed }: OpRecord): readonly string[] {
  return [...(observed?.warnings ?? []), ...(observed?.log ?? [])].map(printable);
}
