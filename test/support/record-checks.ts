/** What the journal's records of ops must show by themselves, whoever wrote and whoever read them. */

/** As much of a record as is looked at. */
export interface OpStep {
  readonly seq: number;
  readonly op_id: string;
  readonly vmid: number;
  readonly state: string;
  readonly attempt: number;
  readonly parent_op_id?: string;
  readonly idemp_key?: string;
}

/** A key is one op, which succeeds once. */
export function findKeyFaults(records: readonly OpStep[]): string[] {
  const faults: string[] = [];
  const keyed = records.filter(({ idemp_key: key }) => key !== undefined);
  for (const [key, own] of Map.groupBy(keyed, ({ idemp_key: key }) => key)) {
    const ops = new Set(own.map(({ op_id: opId }) => opId));
    if (ops.size > 1) faults.push(`${key} is ${ops.size} ops: ${[...ops].join(', ')}`);
    const ends = own.filter(({ state }) => state === 'succeeded').length;
    if (ends > 1) faults.push(`${key} succeeded ${ends} times`);
  }
  return faults;
}

/** Of one guest, one op after another, those received in the order they were. */
export function findLaneFaults(records: readonly OpStep[]): string[] {
  const lanes = Map.groupBy(records, ({ vmid }) => vmid).values();
  return [...lanes].flatMap(findFaultsOfLane);
}

function findFaultsOfLane(records: readonly OpStep[]): string[] {
  const faults: string[] = [];
  const receivedAt = new Map<string, number>();
  const begun: string[] = [];
  for (const { op_id: opId, parent_op_id: parent, state, seq, vmid, attempt } of records) {
    if (state === 'received') receivedAt.set(opId, seq);
    // What ends before it began is cancelled, and may be so out of turn.
    if (attempt === 0) continue;
    const own = parent ?? opId;
    if (begun.at(-1) === own) continue;
    if (begun.includes(own)) faults.push(`${own} on ${vmid} goes on after ${begun.at(-1)} began`);
    const before = begun.findLast((other) => receivedAt.has(other));
    const isEarlier =
      before !== undefined && (receivedAt.get(own) ?? Infinity) < (receivedAt.get(before) ?? 0);
    if (isEarlier) {
      faults.push(`${own} on ${vmid} was received before ${before}, and began after it`);
    }
    begun.push(own);
  }
  return faults;
}
