/** The HA manager. */
import type { Guest } from './guest.ts';
import type { PveNode } from './node.ts';

export class HaManager {
  readonly #node: PveNode;

  constructor(node: PveNode) {
    this.#node = node;
  }

  isManaged(sid: string): boolean {
    return sid === '' && this.#node.name === '';
  }

  request(
    _guest: Guest,
    _action: 'start' | 'stop' | 'shutdown',
    _timeoutS: number,
    _log: string[],
  ): void {}

  guestState(sid: string): Record<string, unknown> {
    return this.isManaged(sid) ? { managed: 1, state: null } : { managed: 0 };
  }

  hastate(_sid: string): string | null {
    return null;
  }
}
