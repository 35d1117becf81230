/** The golden log of a scenario: what the agent recorded, sent and waited for, in virtual time. */
import type { EngineEvent } from '../../src/reconcile/events.ts';
import type { OpRecord } from '../../src/reconcile/op.ts';
import type { PlanEntry } from '../../src/reconcile/plan.ts';
import type { SentRequest } from '../support/model/api.ts';

const UPID = /UPID:[^\s,)\]]+/g;
const CORRELATION = /correlation ([0-9a-hjkmnp-tv-z]{16})\b/g;
const OP_ID = /\b[0-9a-hjkmnp-tv-z]{16}\b/g;

export class ScenarioLog {
  readonly #elapsedMs: () => number;
  readonly #lines: string[] = [];
  readonly #names = new Map<string, string>();
  readonly #shownPlans = new Map<number, string>();
  readonly #shownWaits = new Map<number, string>();
  readonly #counts = new Map<string, number>();

  constructor(elapsedMs: () => number) {
    this.#elapsedMs = elapsedMs;
  }

  add(source: string, text: string): void {
    const seconds = (this.#elapsedMs() / 1_000).toFixed(3).padStart(9);
    this.#lines.push(`${seconds} ${source.padEnd(6)} ${this.#rename(text)}`);
  }

  toString(): string {
    return `${this.#lines.join('\n')}\n`;
  }

  /** Random ids and UPIDs by the order in which they are first seen. */
  #rename(text: string): string {
    return text
      .replace(UPID, (upid) => {
        const [, , , , , type = '', id = ''] = upid.split(':');
        return this.#name(upid, `${type}${id === '' ? '' : `:${id}`}`);
      })
      .replace(CORRELATION, (_text, id: string) => `correlation ${this.#name(id, 'c')}`)
      .replace(OP_ID, (id) => this.#name(id, 'op'));
  }

  #name(id: string, prefix: string): string {
    const known = this.#names.get(id);
    if (known !== undefined) return known;
    const count = (this.#counts.get(prefix) ?? 0) + 1;
    this.#counts.set(prefix, count);
    const name = `${prefix}#${count}`;
    this.#names.set(id, name);
    return name;
  }

  noteSent({ kind, vmid, params }: SentRequest): void {
    const { digest: _digest, ...shown } = { digest: '', ...params };
    const text = Object.keys(shown).length === 0 ? '' : ` ${JSON.stringify(shown)}`;
    this.add('send', `${kind} ${vmid}${text}`);
  }

  noteEvent(event: EngineEvent): void {
    switch (event.kind) {
      case 'op':
        return this.add('op', describeRecord(event.record));
      case 'waiting':
        return this.#noteWait(event);
      case 'pass':
        for (const entry of event.plan.entries) this.#notePlan(entry);
        return;
      case 'problem':
        return this.add('agent', `${event.problem.code}: ${event.problem.message}`);
      case 'halted':
        return this.add('agent', `HALTED ${String(event.error)}`);
    }
  }

  /** Only what has changed since it was last shown. */
  #notePlan(entry: PlanEntry): void {
    const text = describeEntry(entry);
    if (this.#shownPlans.get(entry.vmid) === text) return;
    this.#shownPlans.set(entry.vmid, text);
    this.add('plan', text);
  }

  #noteWait({ vmid, wait }: Extract<EngineEvent, { kind: 'waiting' }>): void {
    const text =
      wait === null ? '' : `${wait.code}: ${wait.message}${task(wait.upid, wait.message)}`;
    if ((this.#shownWaits.get(vmid) ?? '') === text) return;
    this.#shownWaits.set(vmid, text);
    this.add('wait', text === '' ? `${vmid} goes on` : `${vmid} ${text}`);
  }

  forgetShown(): void {
    this.#shownPlans.clear();
    this.#shownWaits.clear();
  }
}

function task(upid: string | undefined, message: string): string {
  return upid === undefined || message.includes(upid) ? '' : ` [${upid}]`;
}

function describeEntry(entry: PlanEntry): string {
  const { vmid, status, actions, changes, conditions, verdict } = entry;
  const parts = [`${vmid} ${status}`];
  const names = actions.map(({ action }) => action.kind).join(', ');
  if (names !== '') parts.push(`${names} (${verdict.kind})`);
  for (const { key, current, desired, pending, isWritten } of changes) {
    const held = pending === undefined ? '' : ` (pending ${pending ?? 'delete'})`;
    parts.push(
      `${key}: ${current ?? '-'} -> ${desired ?? '-'}${held}${isWritten ? ' written' : ''}`,
    );
  }
  for (const { remarks } of actions) parts.push(...remarks);
  for (const { code, message, upid } of conditions)
    parts.push(`${code}: ${message}${task(upid, message)}`);
  return parts.join('; ');
}

function describeRecord(record: OpRecord): string {
  const { op_id: id, kind, vmid, state, attempt, origin } = record;
  const parts = [`${id} ${kind} ${vmid} ${state}`];
  if (state === 'received') parts.push(`from ${origin}`);
  if (state === 'started') {
    parts.push(`attempt ${attempt}`);
    if (record.parent_op_id === undefined) parts.push(`for ${origin}`);
    else parts.push(`part of ${record.parent_op_id}`);
    if (record.correlation_id !== undefined) parts.push(`correlation ${record.correlation_id}`);
  }
  if (state === 'task_running' && record.upid !== undefined) parts.push(record.upid);
  if (record.exit_status !== undefined) parts.push(`"${record.exit_status}"`);
  const { error, observed } = record;
  if (error !== undefined) parts.push(`${error.code}: ${error.message}`);
  if (observed !== undefined) parts.push(JSON.stringify({ ...observed, digest: undefined }));
  return parts.join(' ');
}
