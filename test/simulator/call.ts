/** One API call after its parameters were checked: what a route's handler gets and gives. */
import type { GuestKind } from './guest.ts';
import type { PveNode } from './node.ts';
import type { Principal } from './principal.ts';
import { paramText } from './request-params.ts';

export interface Call {
  readonly node: PveNode;
  readonly principal: Principal;
  readonly params: Params;
}

export interface Result {
  readonly data: unknown;
  /** Stands beside `data` in paged lists. */
  readonly total?: number;
  /** Instead of JSON: a download. */
  readonly text?: string;
}

export type Handler = (call: Call) => Result | Promise<Result>;

/** `METHOD /template` → handler. */
export type Routes = Readonly<Record<string, Handler>>;

export function ok(data: unknown): Result {
  return { data };
}

/** Checked parameters; whatever type they came in, they are text here, and null was JSON null. */
export class Params {
  readonly #values: ReadonlyMap<string, string | null>;

  constructor(given: ReadonlyMap<string, unknown>) {
    this.#values = new Map(
      [...given].map(([key, value]) => [key, value === null ? null : paramText(value)]),
    );
  }

  entries(): [string, string | null][] {
    return [...this.#values];
  }

  text(key: string): string | null {
    return this.#values.get(key) ?? null;
  }

  flag(key: string): boolean {
    return this.#values.get(key) === '1';
  }

  integer(key: string): number | null {
    const text = this.text(key);
    return text === null ? null : Number(text);
  }

  get vmid(): number {
    return Number(this.text('vmid'));
  }
}

/** For routes that exist for both kinds. */
export const KINDS: readonly GuestKind[] = ['qemu', 'lxc'];
