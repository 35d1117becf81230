/**
 * Signed ops as a part of the daemon: one intake for its API and its hub, keys read again on
 * SIGHUP, the agent's own key made at the first start, and the hub where one is configured.
 */
import { openReader } from '../../journal/reader.ts';
import { assertNever } from '../../reconcile/errors.ts';
import { readTlsTrust } from '../config/config.ts';
import type { ControlServiceOptions, HubHealth } from '../control/service.ts';
import type { Agent, StartService } from '../daemon/daemon.ts';
import { logProblem } from '../daemon/log.ts';
import type { WritingSession } from '../daemon/session.ts';
import { systemClock, systemRandom } from '../system.ts';
import { openAgentKey } from './agent-key.ts';
import { type AgentSigner, createAgentSigner } from './agent-signer.ts';
import { describeOutcome, type HubService, startHubService } from './hub-service.ts';
import { type AcceptEnvelope, boundSenders } from './intake.ts';
import { ReceiptSeal } from './receipt-seal.ts';
import type { SignedOps } from './signed-ops.ts';
import type { StreamState } from './stream.ts';

export interface SignedOpsPart {
  /** For the control API. */
  readonly control: ControlServiceOptions;
  readonly start: StartService;
}

export function createSignedOpsPart(session: WritingSession): SignedOpsPart {
  const { signedOps, journal, engine, events, config } = session;
  const accept = signedOps.intake(engine);
  let hub: HubService | null = null;
  let signer: AgentSigner | null = null;
  const receipts = new ReceiptSeal({
    // Opening has synced all of it.
    durableSeq: journal.stats().nextSeq - 1,
    isAtWork: (opId) => engine.isAtWork(opId),
  });
  events.subscribe((event) => {
    if (event.kind === 'op') receipts.noteRecord(event.record);
  });
  const hubHealth = (): HubHealth => healthOf(hub);
  return {
    control: {
      acceptEnvelope: boundSenders(accept),
      sealReceipt: (latest) => (signer === null ? null : receipts.seal(latest, signer)),
      reasons: () => signedOps.problems(),
      ...(config.hub === null ? {} : { hubHealth }),
    },
    async start(agent) {
      const key = await openAgentKey(config.stateDir);
      const onHangup = (): void => void reload(signedOps, agent);
      process.on('SIGHUP', onHangup);
      signer = createAgentSigner(config.agent, key);
      hub = await connect(agent, { key, accept });
      return {
        async stop() {
          process.off('SIGHUP', onHangup);
          await hub?.stop();
        },
      };
    },
  };
}

async function connect(
  { config, journal, engine, events, refusals, log }: Agent,
  own: { readonly key: Awaited<ReturnType<typeof openAgentKey>>; readonly accept: AcceptEnvelope },
): Promise<HubService | null> {
  if (config.hub === null) return null;
  return await startHubService({
    ...own,
    clock: systemClock,
    random: systemRandom,
    agent: config.agent,
    url: config.hub.url,
    trust: await readTlsTrust(config, 'hub'),
    journal,
    history: openReader(config.stateDir),
    engine,
    events,
    refusals,
    log,
  });
}

/** It does not reject for what it reads; anything else is a broken invariant. */
async function reload(signedOps: SignedOps, { log, events }: Agent): Promise<void> {
  try {
    const { problems, notTaken } = await signedOps.reload();
    for (const problem of problems) logProblem(log, problem);
    if (problems.length === 0) log.info('signers are read again');
    if (notTaken.length === 0) return;
    log.warn(`not in force until the agent is started again: ${notTaken.join(', ')}`);
  } catch (error) {
    events.emit({ kind: 'halted', error });
  }
}

function healthOf(hub: HubService | null): HubHealth {
  const stream = streamHealth(hub?.state() ?? null);
  const { waiting = { count: 0, oldestAtMs: null }, trouble = null } = hub?.receipts() ?? {};
  if (!stream.ok || trouble === null) return { ...stream, receipts: waiting };
  const message = `${stream.message}; it does not take receipts: ${trouble.message} (op ${trouble.opId})`;
  return { ...stream, ok: false, message, receipts: waiting };
}

function streamHealth(state: StreamState | null): Omit<HubHealth, 'receipts'> {
  switch (state?.kind) {
    case undefined:
    case 'connecting':
      return { ok: false, message: 'connecting', state: 'connecting' };
    case 'open': {
      const since = new Date(state.sinceMs).toISOString();
      return { ok: true, message: `connected since ${since}`, state: 'connected' };
    }
    case 'waiting': {
      const until = new Date(state.untilMs).toISOString();
      const message = `${describeOutcome(state.because)}; tried again at ${until}`;
      return { ok: false, message, state: 'waiting' };
    }
    case 'stopped':
      return { ok: false, message: 'stopped', state: 'off' };
    default:
      return assertNever(state);
  }
}
