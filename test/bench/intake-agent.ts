/** An agent for measuring its intake: engine, control API and a journal on a real disk. */
import { join } from 'node:path';
import { startControlServer } from '../../src/agent/control/server.ts';
import { createEventHub } from '../../src/agent/daemon/event-hub.ts';
import { rememberLooks } from '../../src/agent/daemon/last-look.ts';
import { createAuthority } from '../../src/agent/hub/authority.ts';
import { createClockGuard } from '../../src/agent/hub/clock-guard.ts';
import { boundSenders, createIntake, keyMemoryOf } from '../../src/agent/hub/intake.ts';
import type { Signer } from '../../src/agent/hub/signers.ts';
import { openReader } from '../../src/journal/reader.ts';
import { Engine } from '../../src/reconcile/engine.ts';
import { TestRing } from '../agent/hub/signing.ts';
import { SmallNode } from '../agent/hub/small-node.ts';
import { POLICY } from '../support/agent-life.ts';
import { DesiredSource } from '../support/desired-source.ts';
import { openOnDisk, realClock } from '../support/journal-on-disk.ts';
import { plainSemantics } from '../support/plain-semantics.ts';
import { seededRandom } from '../support/seeded-random.ts';

export const AGENT = 'pve1';

export interface IntakeAgent extends AsyncDisposable {
  readonly socket: string;
  readonly node: SmallNode;
  readonly engine: Engine;
}

export async function startIntakeAgent(
  folder: string,
  { signers, guests }: { readonly signers: readonly Signer[]; readonly guests: readonly number[] },
): Promise<IntakeAgent> {
  const clock = realClock;
  const random = seededRandom(1);
  const stateDir = join(folder, 'state');
  const socket = join(folder, 'agent.sock');
  const node = new SmallNode(guests);
  const journal = await openOnDisk(stateDir, { keepSegments: 4 });
  const events = createEventHub();
  const ring = new TestRing(signers);
  const clockGuard = createClockGuard({ clock, lastRecordAtMs: journal.lastAtMsBefore });
  const looks = rememberLooks({ guests: node.api, desired: new DesiredSource() });
  const authority = { clock, clockGuard, signers: ring, semantics: plainSemantics, policy: POLICY };
  const engine = new Engine({
    clock,
    random,
    guests: looks.guests,
    desired: looks.desiredProvider,
    ledger: journal.ledger,
    semantics: plainSemantics,
    authority: createAuthority(authority),
    events,
    policy: POLICY,
  });
  await engine.pass({ isFull: true });
  const server = await startControlServer(
    {
      agent: AGENT,
      node: AGENT,
      version: 'bench',
      startedAtMs: clock.now(),
      mode: 'enforce',
      clock,
      random,
      engine,
      ledger: journal.ledger,
      history: openReader(stateDir),
      lastLogLine: async () => null,
      looks,
      events,
      wake: () => undefined,
      readiness: () => [],
      parts: () => [],
      metrics: async () => ({ type: 'text/plain', text: '' }),
      reportError: (error) => console.error(error),
      onRefused: () => undefined,
      acceptEnvelope: boundSenders(
        createIntake({
          agent: AGENT,
          clock,
          clockGuard,
          signers: ring,
          hashPayload: (text) => journal.ledger.hashSecret(text),
          keys: keyMemoryOf(journal),
          submit: (request) => engine.submit(request),
        }),
      ),
    },
    { socket, listen: null, public: null },
  );
  return {
    socket,
    node,
    engine,
    async [Symbol.asyncDispose]() {
      await server.close();
      await engine.stop();
      await journal.close();
    },
  };
}
