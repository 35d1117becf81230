/** One chaos run: the script's events at their times, then calm, then what all sides wrote down. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readByContract } from '../e2e/contract-journal.ts';
import { awaitConvergence, endFaults } from './calm.ts';
import { Driver } from './driver.ts';
import { isOurs } from './end-checks.ts';
import type { Evidence } from './evidence.ts';
import type { Script } from './script.ts';
import type { Stage } from './stage.ts';

const STOPS_WITHIN_MS = 8_000;
const FIRST_UP_MS = 30_000;

export interface Run {
  readonly evidence: Evidence;
  readonly driver: Driver;
  /** From the end of all faults until everything had come right. */
  readonly convergedMs: number;
}

export async function runScript(stage: Stage, script: Script, signal: AbortSignal): Promise<Run> {
  const driver = new Driver(stage, script);
  const { agent } = stage;
  agent.start();
  if (!(await agent.isUpWithin(FIRST_UP_MS))) throw new Error('the agent does not come up');
  signal.throwIfAborted();
  await playEvents(script, driver, signal);
  signal.throwIfAborted();
  await endFaults(stage, script.guests);
  const { left, tookMs } = await awaitConvergence(stage, driver.wished, signal);
  signal.throwIfAborted();
  await agent.stop(STOPS_WITHIN_MS);
  const evidence = await collect(stage, driver, left);
  keep(stage, script, evidence);
  return { evidence, driver, convergedMs: tookMs };
}

async function playEvents(script: Script, driver: Driver, signal: AbortSignal): Promise<void> {
  const beganMs = Date.now();
  const over = new AbortController();
  const ending = AbortSignal.any([signal, over.signal]);
  const playing: Promise<void>[] = [];
  // The first that fails ends the run: the driver's own mistake, not the agent's.
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  for (const event of script.events) {
    const waitMs = beganMs + event.atMs - Date.now();
    if (waitMs > 0) await Promise.race([sleep(waitMs, signal), failed.promise]);
    if (signal.aborted) break;
    const played = driver.perform(event, ending);
    played.catch(failed.reject);
    playing.push(played);
  }
  const restMs = beganMs + script.seconds * 1_000 - Date.now();
  if (restMs > 0) await Promise.race([sleep(restMs, signal), failed.promise]);
  over.abort(new Error('the script is over'));
  // Interrupted, nobody waits for what is under way: the stage goes from under it.
  if (!signal.aborted) await Promise.all(playing);
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}

async function collect(stage: Stage, driver: Driver, left: readonly string[]): Promise<Evidence> {
  const { node, agent, journal } = stage;
  journal.look();
  const requests = (await node.requests()).filter(({ token }) => token !== null && isOurs(token));
  const { guests, tasks } = await node.history();
  return {
    journal: readByContract(join(stage.stateDir, 'journal')),
    growth: journal.growth,
    verify: await verifyJournal(stage),
    requests,
    tasks,
    guests,
    asks: driver.asks,
    wishes: driver.wishes,
    lives: agent.lives,
    slow: [...driver.slow, ...agent.stops],
    clockMovedMs: driver.clockMovedMs,
    leftOver: [...left, ...agent.faults],
  };
}

function verifyJournal(stage: Stage): Promise<{ exit: number | null; out: string }> {
  const args = [stage.program, 'journal', 'verify', '--config', stage.configFile];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (out += text));
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exit) => resolve({ exit, out }));
  });
}

/** For whoever looks into a violation; removed with the folder where there is none. */
function keep({ dir }: Stage, script: Script, evidence: Evidence): void {
  writeFileSync(join(dir, 'script.json'), JSON.stringify(script, null, 1));
  const withSets = (_: string, value: unknown): unknown =>
    value instanceof Set ? [...value] : value;
  writeFileSync(join(dir, 'evidence.json'), JSON.stringify(evidence, withSets, 1));
}
