/**
 * Which waits are worth a line where lines stay: each reason once, until its guest's op has taken
 * a step. A lane looks again every few seconds, and says each time why it still waits.
 */
import type { Wait } from '../../reconcile/events.ts';
import type { Vmid } from '../../reconcile/ids.ts';

export class WaitNews {
  readonly #told = new Map<Vmid, Set<string>>();

  /** A record of the guest: what it waits for after that is news again. */
  noteStep(vmid: Vmid): void {
    this.#told.delete(vmid);
  }

  /** Once true, false for the same reason. */
  isNew(vmid: Vmid, { code, message }: Pick<Wait, 'code' | 'message'>): boolean {
    const told = this.#told.get(vmid) ?? new Set();
    this.#told.set(vmid, told);
    const before = told.size;
    return told.add(`${code} ${withoutCountdown(message)}`).size > before;
  }
}

/** `not asked again for 65 s`, `60 s`, …: one and the same reason. */
function withoutCountdown(message: string): string {
  return message.replaceAll(/(?<!\d)\d+ s\b/g, '');
}
