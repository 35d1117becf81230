/** A small agent behind its real HTTP door: the socket, and `control.public` on a port. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Pool } from 'undici';
import { startControlServer } from '../../../src/agent/control/server.ts';
import { rememberLooks } from '../../../src/agent/daemon/last-look.ts';
import type { Refusal } from '../../../src/agent/daemon/refusal-log.ts';
import { JournalReader } from '../../../src/journal/reader.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import type { TestRing } from './signing.ts';
import { AGENT, SmallAgent } from './small-agent.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export interface Door extends AsyncDisposable {
  readonly agent: SmallAgent<VirtualClock>;
  /** What nobody foresaw. */
  readonly errors: readonly unknown[];
  readonly refusals: readonly Refusal[];
  /** Envelopes that came as far as the intake. */
  readonly accepted: () => number;
  post(body: Buffer | Readable): Promise<Answer>;
  /** A connection of its own, to be misused. */
  dial(): Socket;
}

export async function openDoor(ring: TestRing): Promise<Door> {
  const clock = new VirtualClock();
  const agent = await SmallAgent.start(ring, clock);
  const dir = mkdtempSync(join(tmpdir(), 'door-'));
  const errors: unknown[] = [];
  const refusals: Refusal[] = [];
  let accepted = 0;
  const server = await startControlServer(
    {
      agent: AGENT,
      node: AGENT,
      version: 'test',
      startedAtMs: clock.now(),
      mode: 'enforce',
      clock,
      random: seededRandom(1),
      engine: agent.engine,
      ledger: agent.journal.ledger,
      history: new JournalReader(agent.disk),
      looks: rememberLooks({ guests: agent.node.api, desired: agent.desired }),
      events: agent.events,
      wake: () => undefined,
      readiness: () => [],
      parts: () => [],
      metrics: async () => ({ type: 'text/plain', text: '' }),
      lastLogLine: async () => null,
      reportError: (error) => errors.push(error),
      onRefused: (refusal) => refusals.push(refusal),
      acceptEnvelope: (bytes) => {
        accepted += 1;
        return agent.accept(bytes);
      },
    },
    { socket: join(dir, 'agent.sock'), listen: null, public: { host: '127.0.0.1', port: 0 } },
  );
  const port = server.ports.public ?? 0;
  const pool = new Pool(`http://127.0.0.1:${port}`);
  return {
    agent,
    errors,
    refusals,
    accepted: () => accepted,
    async post(body) {
      const answer = await pool.request({ method: 'POST', path: '/v1/ops', body });
      const { statusCode: status, headers } = answer;
      return { status, headers, text: await answer.body.text() };
    },
    dial: () => connect({ host: '127.0.0.1', port }),
    async [Symbol.asyncDispose]() {
      await pool.destroy();
      agent.kill();
      await server.close();
      rmSync(dir, { recursive: true });
    },
  };
}
