/**
 * The agent's side of a hub: the stream of ops in, receipts out. Begun after recovery; what it had
 * under way when it stops is taken up by the next start, from the journal.
 */
import type { Journal } from '../../journal/journal.ts';
import type { JournalReader } from '../../journal/reader.ts';
import type { TlsTrust } from '../../proxmox/trust.ts';
import type { Clock, Random } from '../../reconcile/clock.ts';
import type { Engine } from '../../reconcile/engine.ts';
import { assertNever } from '../../reconcile/errors.ts';
import type { Broadcast } from '../daemon/broadcast.ts';
import type { EventHub } from '../daemon/event-hub.ts';
import type { Refusal } from '../daemon/refusal-log.ts';
import type { SigningKey } from './agent-key.ts';
import { type AgentSigner, createAgentSigner } from './agent-signer.ts';
import { envelopeText } from './dsse.ts';
import { createHubClient, type HubClient } from './hub-client.ts';
import type { AcceptEnvelope } from './intake.ts';
import { Outbox } from './outbox.ts';
import { createReceiptSource } from './receipt-source.ts';
import { HubStream, type StreamOutcome, type StreamState } from './stream.ts';

export interface HubServiceParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly agent: string;
  readonly url: string;
  readonly trust: TlsTrust;
  readonly key: SigningKey;
  readonly journal: Journal;
  /** The journal, read beside its writer. */
  readonly history: JournalReader;
  readonly engine: Pick<Engine, 'isAtWork'>;
  readonly events: EventHub;
  readonly accept: AcceptEnvelope;
  readonly refusals: Pick<Broadcast<Refusal>, 'tell'>;
  readonly log: {
    info(fields: object, text: string): void;
    warn(fields: object, text: string): void;
    error(fields: object, text: string): void;
  };
}

export interface HubService {
  stop(): Promise<void>;
  /** The connection, for people. */
  state(): StreamState;
  receipts(): Pick<Outbox, 'waiting' | 'trouble'>;
}

export async function startHubService(parts: HubServiceParts): Promise<HubService> {
  const { clock, random, journal, events, log } = parts;
  const signer = createAgentSigner(parts.agent, parts.key);
  const client = createHubClient({
    ...parts,
    signRequest: () => envelopeText(signer.request({ hub: parts.url, nowMs: clock.now() })),
  });
  const { cursor } = journal.hub();
  const outbox = createOutbox(parts, { signer, client, ackedSeq: await beginReceipts(journal) });
  const logState = createStateLog(log);
  let state: StreamState = { kind: 'connecting' };
  const stream = new HubStream({
    clock,
    random,
    client,
    accept: parts.accept,
    signer,
    cursor,
    keepCursor: (next) => journal.ledger.note({ kind: 'hub_cursor', cursor: next }),
    onRefused: (refusal) => parts.refusals.tell({ ...refusal, peer: parts.url }),
    onUnkept: (eventId) =>
      log.warn(
        { event_id: eventId.slice(0, 64) },
        'the hub gives events ids that cannot be kept, and will send them again and again: ' +
          'expected 1 to 256 printable ASCII characters, without spaces at the ends',
      ),
    onState(next) {
      logState(next);
      state = next;
    },
  });
  const unsubscribe = events.subscribe((event) => {
    if (event.kind === 'op') outbox.noteRecord(event.record);
  });
  const stopping = new AbortController();
  // They reject only where the journal cannot be used any more: the process has to end.
  const guarded = (run: Promise<void>): Promise<void> =>
    run.catch((error: unknown) => {
      if (!stopping.signal.aborted) events.emit({ kind: 'halted', error });
    });
  const sendReceipts = async (): Promise<void> => {
    // `newestSeq` counts what recovery has just appended.
    await journal.flushed();
    await outbox.run(stopping.signal);
  };
  const running = [guarded(stream.run(stopping.signal)), guarded(sendReceipts())];
  return {
    async stop() {
      unsubscribe();
      stopping.abort();
      await client.close();
      await Promise.all(running);
    },
    state: () => state,
    receipts: () => outbox,
  };
}

function createOutbox(
  parts: HubServiceParts,
  own: {
    readonly signer: AgentSigner;
    readonly client: HubClient;
    readonly ackedSeq: number;
  },
): Outbox {
  const { clock, random, journal, log } = parts;
  const { signer, client, ackedSeq } = own;
  return new Outbox({
    clock,
    random,
    source: createReceiptSource(parts.history, journal.ledger),
    seal: (record) => envelopeText(signer.receipt(record)),
    post: (envelope, signal) => client.postReceipt(envelope, signal),
    ackedSeq,
    keepAcked: (recordSeq) => journal.ledger.note({ kind: 'receipt_acked', recordSeq }),
    newestSeq: journal.stats().nextSeq - 1,
    isAtWork: (opId) => parts.engine.isAtWork(opId),
    latestSeq: (opId) => journal.ledger.findOp(opId)?.latest.seq ?? null,
    onLost: (records) =>
      log.warn({ records }, 'receipts may be lost: records that the hub is owed cannot be read'),
    onRefused: ({ op_id, seq }, status) =>
      log.error(
        { op_id, seq, status },
        'the hub has refused this receipt for good: it is in the journal only',
      ),
    onTrouble(trouble) {
      if (trouble === null) return log.info({}, 'the hub takes receipts again');
      log.warn({ op_id: trouble.opId }, `the hub does not take receipts: ${trouble.message}`);
    },
  });
}

/** An agent that meets its first hub does not tell it what was before. */
async function beginReceipts(journal: Journal): Promise<number> {
  const { ackedSeq } = journal.hub();
  if (ackedSeq !== null) return ackedSeq;
  const recordSeq = journal.stats().nextSeq - 1;
  await journal.ledger.note({ kind: 'receipt_acked', recordSeq });
  return recordSeq;
}

/** A line when it comes and when it goes, and while it is gone when the reason is another. */
function createStateLog(log: HubServiceParts['log']): (next: StreamState) => void {
  let isOpen = false;
  let told = '';
  return (next) => {
    if (next.kind === 'open') {
      log.info({}, 'connected to the hub');
      isOpen = true;
      told = '';
    }
    if (next.kind !== 'waiting') return;
    const because = describeOutcome(next.because);
    const retry = new Date(next.untilMs).toISOString();
    if (isOpen) {
      log.info({ retry }, `the hub's stream has ended: ${because}`);
      isOpen = false;
    } else if (because !== told) {
      log.warn({ retry }, `the hub cannot be reached: ${because}`);
      told = because;
    }
  };
}

export function describeOutcome(outcome: StreamOutcome): string {
  switch (outcome.kind) {
    case 'unreachable':
      return outcome.isUntrusted ? `its certificate: ${outcome.message}` : outcome.message;
    case 'rejected':
      return `it answered ${outcome.status}`;
    case 'not_a_stream':
      return `it answered ${outcome.contentType || 'without a content type'}, not a stream`;
    case 'silent':
      return 'it has said nothing for too long';
    case 'closed':
      return 'it closed the stream';
    case 'cut':
      return outcome.message;
    case 'too_large':
      return 'it sent an event that is too large';
    case 'deferred':
      return `an op has to wait: ${outcome.problem.message}`;
    case 'stopped':
      return 'the agent is stopping';
    default:
      return assertNever(outcome);
  }
}
