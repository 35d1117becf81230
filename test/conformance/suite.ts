/**
 * The conformance suite: what the adapter takes for granted of a PVE node, checked against one.
 * The same checks run against the simulator in `npm test` and, by main.ts, against a node one has.
 *
 * A check throws when it does not hold, or returns why it could not be made. Without a `guest` no
 * request changes anything.
 */
import type { PveClient } from '../../src/proxmox/client.ts';
import type { Proxmox } from '../../src/proxmox/node.ts';
import type { GuestRef } from '../../src/reconcile/guest.ts';
import { READ_CHECKS } from './read-checks.ts';
import { WRITE_CHECKS } from './write-checks.ts';

export interface Context {
  readonly node: string;
  readonly proxmox: Proxmox;
  readonly client: PveClient;
  /** A second connection with the secret of the token, or the pin of the certificate, wrong. */
  readonly withWrong: (what: 'secret' | 'fingerprint') => PveClient;
  /** May be started, stopped and configured; null: reads only. */
  readonly guest: GuestRef | null;
  readonly signal: AbortSignal;
}

export interface Skipped {
  readonly skipped: string;
}

export interface Check {
  /** A claim. */
  readonly name: string;
  readonly run: (context: Context) => Promise<Skipped | undefined>;
}

export type CheckResult =
  | { readonly kind: 'held'; readonly name: string }
  | { readonly kind: 'skipped'; readonly name: string; readonly why: string }
  | { readonly kind: 'failed'; readonly name: string; readonly why: string };

/** One after the other; later ones build on what earlier ones left. */
export async function runSuite(
  context: Context,
  onResult: (result: CheckResult) => void,
): Promise<readonly CheckResult[]> {
  const results: CheckResult[] = [];
  for (const check of [...READ_CHECKS, ...WRITE_CHECKS]) {
    const result = await runCheck(check, context);
    results.push(result);
    onResult(result);
  }
  return results;
}

async function runCheck(check: Check, context: Context): Promise<CheckResult> {
  const { name } = check;
  try {
    const skipped = await check.run(context);
    return skipped === undefined
      ? { kind: 'held', name }
      : { kind: 'skipped', name, why: skipped.skipped };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { kind: 'failed', name, why };
  }
}
