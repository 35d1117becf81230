/**
 * What a recording says against what came. Values are equal, except times, pids, ids and loads, of
 * which only the type counts; and rows come in any order where PVE gives them in any order.
 */

import type { Got } from './replay-client.ts';
import type { Exchange } from './replay-transcript.ts';

export interface Leniency {
  /** Keys whose values are not compared, only their types. */
  readonly keys: ReadonlySet<string>;
  /** Only status, reason, headers and the types of fields. */
  readonly isShapeOnly: boolean;
  /** Only these guests are part of the scene; null: all. */
  readonly vmids: ReadonlySet<number> | null;
  /** Tasks that were started before this (seconds) are not part of the scene. */
  readonly sinceS: number;
}

const VOLATILE = new Set(
  (
    'pid pstart starttime endtime uptime mem memhost cpu netin netout disk diskread ' +
    'diskwrite swap timestamp uid total time localtime wait idle ssl_fingerprint nics'
  ).split(' '),
);

/**
 * What a row has or has not, depending on the moment; `total` counts the history before the scene,
 * `saved` changes its type a moment after a task's end.
 */
const OPTIONAL = new Set('tokenid endtime saved pid status exitstatus (uid)'.split(' '));

/** Headers that matter to a client. */
const HEADERS = ['content-type', 'cache-control', 'pragma', 'server', 'content-encoding'];

/** Differences in words; none when the answer is as recorded. */
export function compareAnswer(step: Exchange, got: Got, leniency: Leniency): string[] {
  const { response } = step;
  const differences: string[] = [];
  const check = (what: string, recorded: unknown, here: unknown): void => {
    if (recorded !== here)
      differences.push(`${what}: recorded ${show(recorded)}, got ${show(here)}`);
  };
  check('status', response.status, got.status);
  check('reason', response.reason, got.reason);
  for (const name of HEADERS) {
    check(name, response.headers[name], got.headers.get(name)?.join(', '));
  }
  check(
    'length given',
    response.headers['content-length'] !== undefined,
    got.headers.has('content-length'),
  );
  check('connection', response.headers['connection'], got.headers.get('connection')?.at(-1));
  if (response.body === undefined) {
    if (response.text !== undefined) check('text', response.text, got.text);
  } else {
    differences.push(...compareBodies(response.body, got.text, leniency));
  }
  return differences;
}

function compareBodies(recorded: unknown, text: string, leniency: Leniency): string[] {
  let here: unknown;
  try {
    here = JSON.parse(text);
  } catch {
    return [`body: no JSON: ${text.slice(0, 80)}`];
  }
  return compareValues('body', prepare(recorded, leniency), prepare(here, leniency), leniency);
}

/** Drops tasks from before the scene and puts unordered rows in order. */
function prepare(value: unknown, leniency: Leniency): unknown {
  if (Array.isArray(value)) {
    const rows = value.filter(
      (row) => !isOldTask(row, leniency.sinceS) && !isStranger(row, leniency.vmids),
    );
    return sortRows(rows.map((row) => prepare(row, leniency)));
  }
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(
    ([key, inner]) =>
      !isStranger({ sid: key }, leniency.vmids) && !isStranger(inner, leniency.vmids),
  );
  return Object.fromEntries(
    // The LRM's results are filed under random ids.
    entries.map(([key, inner]) => [
      /^[\w+/]{22}$/.test(key) ? '(uid)' : key,
      prepare(inner, leniency),
    ]),
  );
}

function isOldTask(row: unknown, sinceS: number): boolean {
  const upid = isRecord(row) ? row['upid'] : undefined;
  if (typeof upid !== 'string') return false;
  return parseInt(upid.split(':')[4] ?? '', 16) < sinceS;
}

/** A guest, HA resource or task that others worked with while this was recorded. */
function isStranger(row: unknown, vmids: ReadonlySet<number> | null): boolean {
  if (vmids === null || !isRecord(row)) return false;
  const { vmid, sid, id, upid } = row;
  if (typeof vmid === 'number') return !vmids.has(vmid);
  if (typeof sid === 'string')
    return /^(?:vm|ct):\d+$/.test(sid) && !vmids.has(Number(sid.slice(3)));
  return upid !== undefined && id !== '' && !vmids.has(Number(id));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Log lines and tasks keep their order. */
function sortRows(rows: unknown[]): unknown[] {
  const keys = ['vmid', 'key', 'sid', 'id', 'subdir'];
  const key = keys.find((name) => rows.every((row) => isRecord(row) && name in row));
  const isOrdered = key === undefined || rows.some((row) => isRecord(row) && 'upid' in row);
  if (isOrdered) return rows;
  const of = (row: unknown): string => (isRecord(row) ? JSON.stringify(row[key]) : '');
  return [...rows].sort((a, b) => (of(a) < of(b) ? -1 : 1));
}

function compareValues(
  path: string,
  recorded: unknown,
  here: unknown,
  leniency: Leniency,
): string[] {
  if (Array.isArray(recorded) && Array.isArray(here)) {
    return compareLists(path, recorded, here, leniency);
  }
  if (isRecord(recorded) && isRecord(here)) return compareRecords(path, recorded, here, leniency);
  const key = path.slice(path.lastIndexOf('.') + 1);
  const isLoose = VOLATILE.has(key) || key.startsWith('pressure') || leniency.keys.has(key);
  if (isLoose || leniency.isShapeOnly) {
    return typeof recorded === typeof here
      ? []
      : [`${path}: recorded ${show(recorded)}, got ${show(here)}`];
  }
  const [a, b] = [timeless(recorded), timeless(here)];
  return a === b ? [] : [`${path}: recorded ${show(recorded)}, got ${show(here)}`];
}

function compareLists(
  path: string,
  recorded: readonly unknown[],
  here: readonly unknown[],
  leniency: Leniency,
): string[] {
  if (leniency.isShapeOnly) {
    if (recorded.length === 0 || here.length === 0) return [];
    return compareValues(`${path}[0]`, recorded[0], here[0], leniency);
  }
  if (recorded.length !== here.length) {
    return [`${path}: recorded ${recorded.length} rows, got ${here.length}: ${show(here)}`];
  }
  return recorded.flatMap((row, index) =>
    compareValues(`${path}[${index}]`, row, here[index], leniency),
  );
}

function compareRecords(
  path: string,
  recorded: Record<string, unknown>,
  here: Record<string, unknown>,
  leniency: Leniency,
): string[] {
  const isOptional = (key: string): boolean =>
    key === 'total' || leniency.keys.has(key) || (leniency.isShapeOnly && OPTIONAL.has(key));
  return [...new Set([...Object.keys(recorded), ...Object.keys(here)])].flatMap((key) => {
    const inner = `${path}.${key}`;
    const isInBoth = key in recorded && key in here;
    if (isOptional(key) && (!isInBoth || key === 'saved')) return [];
    if (!(key in recorded)) return [`${inner}: not recorded, got ${show(here[key])}`];
    if (!(key in here)) return [`${inner}: recorded ${show(recorded[key])}, missing here`];
    return compareValues(inner, recorded[key], here[key], leniency);
  });
}

/** Without what differs from run to run: UPIDs' numbers, dates, kernel names. */
function timeless(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  return value
    .replaceAll(/UPID:(\w+):\w+:\w+:\w+:/g, 'UPID:$1:')
    .replaceAll(/\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}/g, '(date)');
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 300);
}
