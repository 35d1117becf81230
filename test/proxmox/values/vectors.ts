/** What PVE itself said of values: its parser's verdicts, and what a real node took and gave. */
import { readFileSync } from 'node:fs';
import { configText } from '../../../src/reconcile/desired.ts';
import type { GuestKind } from '../../../src/reconcile/guest.ts';

interface Row {
  readonly kind: GuestKind;
  readonly key: string;
}

export interface EqualityRow extends Row {
  readonly a: string | null;
  readonly b: string | null;
  readonly equal: boolean;
}

export interface ValidityRow extends Row {
  readonly value: string;
  readonly valid: boolean;
  readonly why?: string;
}

export interface RoundtripRow extends Row {
  readonly written: string;
  /** As JSON gave it: a number for some options. */
  readonly read: string | number | null;
}

function readRows(name: string): readonly unknown[] {
  const file = new URL(`../../fixtures/vectors/${name}.jsonl`, import.meta.url);
  return readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}

export const equalityRows = readRows('equality') as readonly EqualityRow[];
export const validityRows = readRows('validity') as readonly ValidityRow[];
export const roundtripRows = readRows('roundtrip') as readonly RoundtripRow[];

export interface RecordedWrite extends Row {
  readonly value: string;
  readonly status: number;
  /** The answer names this very parameter as wrong. */
  readonly isBlamed: boolean;
  /** What the API gave back: null not set, undefined not looked. */
  readonly read: string | null | undefined;
}

type Scalar = string | number | null;

interface RecordedStep {
  readonly request?: {
    readonly method: string;
    readonly path: string;
    readonly form?: Readonly<Record<string, Scalar>>;
  };
  readonly response?: {
    readonly status: number;
    readonly body?: { readonly errors?: Readonly<Record<string, string>> };
  };
  readonly read_back?: Readonly<Record<string, Scalar>>;
}

const NOT_OPTIONS = /^(?:delete|revert|digest|force|skiplock|background_delay|vmid|node)$/;

/** Every option somebody wrote in a recorded scenario, and what came of it. */
export function recordedWrites(scenario: string): readonly RecordedWrite[] {
  const file = new URL(`../../fixtures/transcripts/${scenario}.json`, import.meta.url);
  const { steps } = JSON.parse(readFileSync(file, 'utf8')) as { steps: readonly RecordedStep[] };
  return steps.flatMap(({ request, response, read_back: readBack }) => {
    if (request?.form === undefined || response === undefined) return [];
    if (!request.path.endsWith('/config')) return [];
    return Object.entries(request.form)
      .filter(([key]) => !NOT_OPTIONS.test(key))
      .map(([key, value]): RecordedWrite => {
        const read = readBack?.[key];
        return {
          kind: request.path.includes('/lxc/') ? 'lxc' : 'qemu',
          key,
          value: String(value),
          status: response.status,
          isBlamed: response.body?.errors?.[key] !== undefined,
          read: read === undefined ? undefined : configText(read),
        };
      });
  });
}
