/** What the control API stands on: the running agent, as values the daemon puts together. */
import type { JournalReader } from '../../journal/reader.ts';
import type { Clock, Random } from '../../reconcile/clock.ts';
import type { Mode, RejectedDocument } from '../../reconcile/desired.ts';
import type { Engine } from '../../reconcile/engine.ts';
import type { ErrorCode } from '../../reconcile/errors.ts';
import type { OpId } from '../../reconcile/ids.ts';
import type { OpRecord } from '../../reconcile/op.ts';
import type { OpLedger } from '../../reconcile/ports.ts';
import type { EventHub } from '../daemon/event-hub.ts';
import type { LastLook } from '../daemon/last-look.ts';
import type { Refusal } from '../daemon/refusal-log.ts';
import type { ReadLastLine } from '../daemon/task-log.ts';
import type { EnvelopeJson } from '../hub/dsse.ts';
import type { AgentDocument } from './documents.ts';

export type ReadinessReason = RejectedDocument['problem'] & {
  /** The next step, where it is another than the code's. */
  readonly hint?: string;
};
export type PartHealth = AgentDocument['parts'][number];

/** What became of an envelope; `op` is durable. */
export type EnvelopeResult =
  | { readonly kind: 'accepted' | 'repeat'; readonly opId: OpId }
  | {
      readonly kind: 'refused';
      readonly code: ErrorCode;
      readonly message: string;
      readonly hint?: string;
      /** As the envelope claims them, where it could be read. */
      readonly keyids?: readonly string[];
    };

export interface ControlPorts {
  readonly agent: string;
  readonly node: string;
  readonly version: string;
  readonly startedAtMs: number;
  readonly mode: Mode;
  readonly clock: Clock;
  readonly random: Random;
  readonly engine: Pick<
    Engine,
    'submit' | 'cancel' | 'waits' | 'plan' | 'pass' | 'idle' | 'hold' | 'forgive' | 'lastSeen'
  >;
  readonly ledger: OpLedger;
  /** The journal, read beside its writer. */
  readonly history: JournalReader;
  readonly looks: Pick<LastLook, 'desired' | 'actual' | 'known'>;
  readonly lastLogLine: ReadLastLine;
  readonly events: Pick<EventHub, 'subscribe'>;
  /** A pass soon. */
  readonly wake: () => void;
  /** Why the agent is not ready; empty: it is. */
  readonly readiness: () => readonly ReadinessReason[];
  /** The health of PVE, journal, desired state and hub, for people. */
  readonly parts: () => readonly PartHealth[];
  /** Prometheus text and its content type. */
  readonly metrics: () => Promise<{ readonly type: string; readonly text: string }>;
  /** Signed ops; left out, the route answers 404. Must not throw for what the bytes say. */
  readonly acceptEnvelope?: (bytes: Buffer) => Promise<EnvelopeResult>;
  /** Told of each signed op that was refused; must not throw. */
  readonly onRefused: (refusal: Refusal) => void;
  /** An op's end signed with the agent's key; null while it has not ended, may be tried again,
   * or is not durable. */
  readonly sealReceipt?: (latest: OpRecord) => EnvelopeJson | null;
  /** What nobody foresaw, for the log. */
  readonly reportError: (error: unknown, requestId: string) => void;
}
