/** The control API of a running agent: what it stands on, taken from the daemon's parts. */
import packageJson from '../../../package.json' with { type: 'json' };
import { openReader } from '../../journal/reader.ts';
import { isTerminal } from '../../reconcile/op.ts';
import type { Agent, Service, StartService } from '../daemon/daemon.ts';
import { blindness, desiredProblems } from '../daemon/last-look.ts';
import { createMetrics, type HubFacts } from '../daemon/metrics.ts';
import { createTaskLog } from '../daemon/task-log.ts';
import { systemClock, systemRandom } from '../system.ts';
import { counted } from '../terminal/counted.ts';
import type { ControlPorts, PartHealth, ReadinessReason } from './ports.ts';
import { startControlServer } from './server.ts';

export interface ControlServiceOptions {
  readonly acceptEnvelope?: NonNullable<ControlPorts['acceptEnvelope']>;
  readonly sealReceipt?: ControlPorts['sealReceipt'];
  /** What else keeps the agent from being ready. */
  readonly reasons?: () => readonly ReadinessReason[];
  /** Where a hub is configured. */
  readonly hubHealth?: () => HubHealth;
}

/** The connection to the hub, for people and metrics, and the receipts it is owed. */
export interface HubHealth extends Pick<PartHealth, 'ok' | 'message'>, HubFacts {}

export function createControlService(options: ControlServiceOptions = {}): StartService {
  return async (agent) => {
    const { config, events, loop, log } = agent;
    const { acceptEnvelope, sealReceipt, hubHealth } = options;
    const readiness = (): readonly ReadinessReason[] => [
      ...reasonsOf(agent),
      ...(options.reasons?.() ?? []),
    ];
    const metrics = createMetrics({
      ledger: agent.ledger,
      clock: systemClock,
      version: packageJson.version,
      isReady: () => readiness().length === 0,
      hub: () => hubHealth?.() ?? null,
    });
    const unsubscribe = [
      events.subscribe((event) => {
        metrics.observe(event);
        if (event.kind !== 'op' || !isTerminal(event.record.state)) return;
        // Somebody's op may have left something to do; after work of its own the loop looks anyway.
        if (event.record.origin !== 'reconcile') loop.wake();
      }),
      agent.requests.subscribe(metrics.onRequest),
      agent.syncs.subscribe(metrics.onSynced),
      agent.refusals.subscribe(({ code }) => metrics.countRejection(code)),
    ];
    const server = await startControlServer(
      {
        agent: config.agent,
        node: config.node,
        version: packageJson.version,
        startedAtMs: systemClock.now(),
        mode: config.policy.mode,
        clock: systemClock,
        random: systemRandom,
        engine: agent.engine,
        ledger: agent.ledger,
        history: openReader(config.stateDir),
        looks: agent.looks,
        lastLogLine: createTaskLog({ proxmox: agent.proxmox, clock: systemClock }),
        events,
        wake: loop.wake,
        readiness,
        parts: () => partsOf(agent, options),
        metrics: () => metrics.render(),
        reportError: (error, requestId) => log.error({ err: error, request_id: requestId }, 'API'),
        onRefused: agent.refusals.tell,
        ...(acceptEnvelope === undefined ? {} : { acceptEnvelope }),
        ...(sealReceipt === undefined ? {} : { sealReceipt }),
      },
      config.control,
    );
    log.info({ socket: config.control.socket, ...server.ports }, 'control API is up');
    const service: Service = {
      async stop() {
        for (const stop of unsubscribe) stop();
        await server.close();
      },
    };
    return service;
  };
}

function reasonsOf({ looks, config }: Agent): ReadinessReason[] {
  if (looks.actual === null) {
    return [{ code: 'service_unavailable', message: 'the node has not been looked at yet' }];
  }
  const blind = blindness(looks.actual);
  const pve =
    blind === null ? [] : [{ ...blind, message: `${config.proxmox.url}: ${blind.message}` }];
  return [...pve, ...desiredProblems(looks.desired)];
}

function partsOf(agent: Agent, { hubHealth }: ControlServiceOptions): PartHealth[] {
  const { looks, config, journal } = agent;
  const blind =
    looks.actual === null ? 'not looked at yet' : (blindness(looks.actual)?.message ?? null);
  const problems = desiredProblems(looks.desired).map(({ message }) => message);
  const guests = looks.desired?.guests.size ?? 0;
  const stats = journal?.stats();
  const health = hubHealth?.();
  const hub: PartHealth[] =
    health === undefined ? [] : [{ name: 'hub', ok: health.ok, message: health.message }];
  return [
    { name: 'pve', ok: blind === null, message: blind ?? config.proxmox.url },
    {
      name: 'journal',
      ok: stats !== undefined,
      message:
        stats === undefined ? 'closed' : `record ${stats.nextSeq - 1} in segment ${stats.segment}`,
    },
    {
      name: 'desired',
      ok: problems.length === 0,
      message: problems.length === 0 ? counted(guests, 'guest') : problems.join('; '),
    },
    ...hub,
  ];
}
