/** What goes wrong with requests that change something, as scripted. Each fault is used once. */
import type { ErrorCode } from '../../../src/reconcile/errors.ts';

export type RequestKind = 'start' | 'stop' | 'set_config';

export type Fault =
  /** The connection is cut before PVE has taken the request. */
  | { readonly kind: 'cut_before' }
  /** PVE has taken it; the answer is lost. */
  | { readonly kind: 'cut_after' }
  /** pvedaemon is stuck: 596 after 30 s, and the request takes effect when it is free again. */
  | { readonly kind: 'answer_596'; readonly effectAfterMs: number | null }
  /** 500 `got no worker upid`, and a task with `unexpected status`. */
  | { readonly kind: 'no_worker_upid'; readonly hasEffect: boolean }
  | { readonly kind: 'refuse'; readonly code: ErrorCode; readonly message: string }
  /** Taken, the answer lost, and somebody else with our token did the same. */
  | { readonly kind: 'cut_twice' };

export class Faults {
  readonly #planned: { readonly on: RequestKind; readonly fault: Fault }[] = [];

  plan(on: RequestKind, fault: Fault): void {
    this.#planned.push({ on, fault });
  }

  take(on: RequestKind): Fault | null {
    const index = this.#planned.findIndex((planned) => planned.on === on);
    return index === -1 ? null : (this.#planned.splice(index, 1)[0]?.fault ?? null);
  }
}
