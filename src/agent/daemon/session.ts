/**
 * The composition root: one configuration put together into an engine and what it stands on.
 * Opened in the order config → journal (and its lock) → node → engine, closed the other way round.
 *
 * With `access: 'read'` nothing is ever written: the journal is read without its lock, and the
 * engine is only asked for plans.
 */
import type { Journal } from '../../journal/journal.ts';
import type { SyncedBatch } from '../../journal/writer.ts';
import type { RequestInfo } from '../../proxmox/client.ts';
import { createProxmox, type Proxmox } from '../../proxmox/node.ts';
import { createValueSemantics } from '../../proxmox/values/same-value.ts';
import { Engine } from '../../reconcile/engine.ts';
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { GuestApi, OpLedger } from '../../reconcile/ports.ts';
import { withCheapLooks } from '../cheap-looks/cheap-looks.ts';
import { createSignReader } from '../cheap-looks/host-signs.ts';
import { type Config, loadConfig, readTlsTrust, readToken } from '../config/config.ts';
import { createConfiguredProvider } from '../desired/configured.ts';
import { openSignedOps, type SignedOps } from '../hub/signed-ops.ts';
import { systemClock, systemRandom } from '../system.ts';
import { type Broadcast, createBroadcast } from './broadcast.ts';
import { createEventHub, type EventHub } from './event-hub.ts';
import { blindness, type LastLook, rememberLooks, unseenHint } from './last-look.ts';
import { openForWriting, readLedger } from './open-ledger.ts';
import type { Refusal } from './refusal-log.ts';
import { actAsOwner } from './state-owner.ts';

export interface Session extends AsyncDisposable {
  readonly config: Config;
  readonly engine: Engine;
  readonly ledger: OpLedger;
  readonly proxmox: Proxmox;
  readonly looks: LastLook;
  readonly events: EventHub;
  /** Each request to PVE that has ended, and each sync of the journal: for metrics. */
  readonly requests: Broadcast<RequestInfo>;
  readonly syncs: Broadcast<SyncedBatch>;
  /** Each signed op that was refused, whichever way it came. */
  readonly refusals: Broadcast<Refusal>;
}

/** One that holds the journal. */
export interface WritingSession extends Session {
  readonly journal: Journal;
  readonly signedOps: SignedOps;
}

export function openSession(
  configFile: string,
  options: { readonly access: 'write' },
): Promise<WritingSession>;
export function openSession(
  configFile: string,
  options: { readonly access: 'read' },
): Promise<Session>;
export async function openSession(
  configFile: string,
  { access }: { readonly access: 'read' | 'write' },
): Promise<Session> {
  const config = await loadConfig(configFile);
  actAsOwner(config.stateDir);
  const node = { token: await readToken(config), tls: await readTlsTrust(config) };
  const events = createEventHub();
  const requests = createBroadcast<RequestInfo>();
  const syncs = createBroadcast<SyncedBatch>();
  await using opened = new AsyncDisposableStack();
  const journal = access === 'write' ? await openForWriting(config, { events, syncs }) : null;
  if (journal !== null) opened.defer(() => journal.close());
  const ledger = journal?.ledger ?? (await readLedger(config));
  const clock = systemClock;
  const random = systemRandom;
  const proxmox = createProxmox({
    url: config.proxmox.url,
    node: config.node,
    ...node,
    clock,
    random,
    onRequest: requests.tell,
  });
  opened.defer(() => proxmox.close());
  const desired = createConfiguredProvider(config.desired, clock);
  opened.defer(() => desired.close());
  const guests = journal === null ? proxmox.guests : requireOwner(proxmox.guests, journal);
  const readSigns = createSignReader(config.look, config.node);
  const looks = rememberLooks({ guests: withCheapLooks({ guests, clock, readSigns }), desired });
  const semantics = createValueSemantics();
  const writing = journal && {
    journal,
    signedOps: await openSignedOps({ config, journal, clock, semantics }),
  };
  const engine = new Engine({
    clock,
    random,
    guests: looks.guests,
    desired: looks.desiredProvider,
    ledger,
    semantics,
    // Without the journal's lock no op ever has a turn.
    authority: writing?.signedOps.authority ?? { objection: () => null, signaturesLeft: () => 0 },
    events,
    policy: config.policy,
  });
  opened.defer(() => engine.stop());
  const stack = opened.move();
  return {
    config,
    engine,
    ledger,
    proxmox,
    looks,
    events,
    requests,
    syncs,
    refusals: createBroadcast<Refusal>(),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
    ...writing,
  };
}

/** J8: who has lost the lock sends nothing any more; the engine halts on what this throws. */
function requireOwner(guests: GuestApi, journal: Journal): GuestApi {
  return {
    ...guests,
    start(guest, signal) {
      journal.assertStillOwner();
      return guests.start(guest, signal);
    },
    stop(guest, params, signal) {
      journal.assertStillOwner();
      return guests.stop(guest, params, signal);
    },
    setConfig(guest, change, signal) {
      journal.assertStillOwner();
      return guests.setConfig(guest, change, signal);
    },
  };
}

/** Throws where nothing could be seen: there is no plan then, and no reason to go on. */
export function assertSighted({ looks, config }: Session): void {
  const problem = blindness(looks.actual);
  if (problem === null) return;
  const hint = unseenHint(problem.code, config);
  const details = hint === undefined ? {} : { hint };
  throw new ReconcilerError(problem.code, `${config.proxmox.url}: ${problem.message}`, details);
}
