/**
 * The daemon: recovery, then passes until it is told to stop. What else an agent runs (its control
 * API, the hub) is a service: begun after recovery, ended first.
 *
 * Ops under way when it stops stay in the journal as they are, and the next start takes them up
 * without an attempt charged (J7).
 */
import { leadingOps } from '../../reconcile/phase.ts';
import { systemClock } from '../system.ts';
import { createEventLogger, type Log } from './log.ts';
import { openingNotes } from './open-ledger.ts';
import { createPassLoop, type PassLoop } from './pass-loop.ts';
import { createProblemReporter } from './problem-reporter.ts';
import { createRefusalLogger } from './refusal-log.ts';
import type { WritingSession } from './session.ts';

export interface Agent extends WritingSession {
  readonly log: Log;
  readonly loop: PassLoop;
}

export interface Service {
  stop(): Promise<void>;
}

export type StartService = (agent: Agent) => Promise<Service>;

/** Resolves when the signal has ended it in order; throws what made it impossible to go on. */
export async function runDaemon(
  session: WritingSession,
  { log, signal, services }: { log: Log; signal: AbortSignal; services: readonly StartService[] },
): Promise<void> {
  const { engine, config, events, looks, ledger, refusals, journal } = session;
  const loop = createPassLoop({
    clock: systemClock,
    intervalMs: config.policy.intervalMs,
    engine,
  });
  const halt = new AbortController();
  const unsubscribe = [
    events.subscribe(
      createEventLogger(log, (vmid) => leadingOps(ledger.opsInFlight()).get(vmid)?.opId),
    ),
    refusals.subscribe(createRefusalLogger(log, systemClock)),
    events.subscribe((event) => {
      if (event.kind === 'halted') halt.abort(event.error);
      if (event.kind === 'pass') reportProblems();
    }),
    looks.desiredProvider.onChange(loop.wake),
  ];
  const reportProblems = createProblemReporter(session.looks, log);
  for (const note of openingNotes(journal)) log.warn(note);
  engine.recover();
  const running: Service[] = [];
  for (const start of services) running.push(await start({ ...session, log, loop }));
  log.info({ agent: config.agent, node: config.node }, 'agent is up');
  const over = AbortSignal.any([signal, halt.signal]);
  const looping = loop.run(over);
  try {
    // Not the loop alone: a pass may be waiting for an answer that never comes.
    await Promise.race([looping, untilAborted(over)]);
    halt.signal.throwIfAborted();
  } finally {
    for (const stop of unsubscribe) stop();
    for (const service of running.reverse()) await service.stop();
    await engine.stop();
    // What it rejects with now is its being stopped, or was thrown above.
    await looping.catch(() => undefined);
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
