/**
 * A running agent for the control API's tests: a real engine over the model node in virtual time,
 * a real journal on a disk in memory, and the real server on a socket in a folder of its own.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ListenAddress } from '../../../src/agent/config/config-schema.ts';
import { type ControlClient, connectToAgent } from '../../../src/agent/control/client.ts';
import type {
  ControlPorts,
  PartHealth,
  ReadinessReason,
} from '../../../src/agent/control/ports.ts';
import {
  type ControlAddresses,
  type ControlServer,
  startControlServer,
} from '../../../src/agent/control/server.ts';
import { createEventHub } from '../../../src/agent/daemon/event-hub.ts';
import { rememberLooks } from '../../../src/agent/daemon/last-look.ts';
import { type Journal, startJournal } from '../../../src/journal/journal.ts';
import { JournalReader } from '../../../src/journal/reader.ts';
import { Engine } from '../../../src/reconcile/engine.ts';
import type { EnginePolicy } from '../../../src/reconcile/ports.ts';
import { POLICY } from '../../support/agent-life.ts';
import { type DesiredGuests, DesiredSource } from '../../support/desired-source.ts';
import { MemoryDisk } from '../../support/memory-disk.ts';
import { ModelApi } from '../../support/model/api.ts';
import { type GuestSetup, ModelNode } from '../../support/model/node.ts';
import { plainSemantics } from '../../support/plain-semantics.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

export interface WorldSetup {
  readonly guests?: Readonly<Record<number, GuestSetup>>;
  readonly desired?: DesiredGuests;
  readonly policy?: Partial<EnginePolicy>;
  readonly addresses?: Partial<ControlAddresses>;
  readonly acceptEnvelope?: NonNullable<ControlPorts['acceptEnvelope']>;
  readonly parts?: readonly PartHealth[];
  /** Without a first pass, nothing has been seen yet. */
  readonly isBlind?: boolean;
}

export interface ControlWorld extends AsyncDisposable {
  readonly clock: VirtualClock;
  readonly node: ModelNode;
  readonly api: ModelApi;
  readonly engine: Engine;
  readonly journal: Journal;
  readonly desired: DesiredSource;
  /** The one that runs now. */
  readonly server: ControlServer;
  readonly socket: string;
  readonly client: ControlClient;
  readonly reasons: ReadinessReason[];
  /** What went wrong unforeseen, for the log. */
  readonly errors: unknown[];
  /** A pass that ends after this much virtual time at most. */
  pass(): Promise<void>;
  /** After it was closed, on the port it had. */
  restartServer(listen: ListenAddress): Promise<void>;
}

export async function openControlWorld(setup: WorldSetup = {}): Promise<ControlWorld> {
  await using opened = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'control-'));
  opened.defer(() => rm(folder, { recursive: true }));
  const socket = join(folder, 'agent.sock');
  const clock = new VirtualClock();
  const node = new ModelNode(clock);
  for (const [vmid, guest] of Object.entries(setup.guests ?? {})) node.add(Number(vmid), guest);
  const api = new ModelApi(node);
  const desired = new DesiredSource();
  desired.put('desired.yaml', setup.desired ?? {});
  const disk = new MemoryDisk();
  const random = seededRandom(7);
  const journal = await openMemoryJournal(disk, clock, random);
  opened.defer(() => journal.close());
  const events = createEventHub();
  const looks = rememberLooks({ guests: bound(api), desired: bound(desired) });
  const policy = { ...POLICY, ...setup.policy };
  const engine = new Engine({
    clock,
    random,
    guests: looks.guests,
    desired: looks.desiredProvider,
    ledger: journal.ledger,
    semantics: plainSemantics,
    authority: {
      objection: () => null,
      signaturesLeft: ({ first }) => first.signers?.length ?? 0,
    },
    events,
    policy,
  });
  opened.defer(() => engine.stop());
  const pass = async (): Promise<void> => void (await clock.until(engine.pass(), 60_000));
  const reasons: ReadinessReason[] = [];
  const errors: unknown[] = [];
  const ports: ControlPorts = {
    agent: 'pve1',
    node: 'pve1',
    version: '0.0.0-test',
    startedAtMs: clock.now(),
    mode: policy.mode,
    clock,
    random,
    engine,
    ledger: journal.ledger,
    history: new JournalReader(disk),
    looks,
    lastLogLine: async (upid) => `log of ${upid}`,
    events,
    wake: () => undefined,
    readiness: () => reasons,
    parts: () => setup.parts ?? [{ name: 'journal', ok: true, message: 'open' }],
    metrics: async () => ({ type: 'text/plain; version=0.0.4', text: 'up 1\n' }),
    reportError: (error) => errors.push(error),
    onRefused: () => undefined,
    ...(setup.acceptEnvelope === undefined ? {} : { acceptEnvelope: setup.acceptEnvelope }),
  };
  const addresses = { socket, listen: null, public: null, ...setup.addresses };
  let server = await startControlServer(ports, addresses);
  opened.defer(() => server.close());
  if (setup.isBlind !== true) await pass();
  const client = opened.use(connectToAgent(socket));
  const parts = { clock, node, api, engine, journal, desired, socket, client };
  const stack = opened.move();
  return {
    ...parts,
    get server() {
      return server;
    },
    async restartServer(listen) {
      server = await startControlServer(ports, { ...addresses, listen });
    },
    reasons,
    errors,
    pass,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function openMemoryJournal(
  disk: MemoryDisk,
  clock: VirtualClock,
  random: { next(): number },
): Promise<Journal> {
  return startJournal({
    disk,
    clock,
    random,
    opener: { pid: 1, host: 'test', boot_id: 'test', started_at: '2026-11-20T12:00:00.000Z' },
    hashSecret: (text) => `hash of ${text.length}`,
    assertStillOwner: () => undefined,
    isTakeover: false,
    isSuspect: false,
    segmentBytes: 1024 * 1024,
    keepSegments: 100,
    keepForMs: 86_400_000,
    onHalt: (error) => {
      throw error;
    },
  });
}

/** Its methods as own properties, as whoever spreads a port expects them. */
function bound<Port extends object>(port: Port): Port {
  return new Proxy(port, {
    ownKeys: () => Object.getOwnPropertyNames(Object.getPrototypeOf(port)),
    getOwnPropertyDescriptor: (target, key) => ({
      value: Reflect.get(target, key, target),
      enumerable: true,
      configurable: true,
    }),
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** The answer to a request whose answer takes virtual time: time goes on until it is there. */
export async function untilAnswered<Answer>(
  { clock }: Pick<ControlWorld, 'clock'>,
  request: Promise<Answer>,
): Promise<Answer> {
  const state = { isAnswered: false };
  const noted = request.finally(() => {
    state.isAnswered = true;
  });
  noted.catch(() => undefined);
  while (!state.isAnswered) await clock.advanceTo(clock.elapsedMs + 20);
  return noted;
}
