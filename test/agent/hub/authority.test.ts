/** What an op that waits may still do when keys, permissions or the clock have changed meanwhile. */
import { expect, test } from 'vitest';
import { VIRTUAL_EPOCH_MS, VirtualClock } from '../../support/virtual-clock.ts';
import { bytesOf, makeKey, signBody, signerOf, TestRing } from './signing.ts';
import { AGENT, SmallAgent } from './small-agent.ts';

const hub = makeKey('hub-1');
const second = makeKey('hub-2');
const [first, other] = [signerOf(hub), signerOf(second)];

const HOUR_MS = 3_600_000;
const DISK = { kind: 'set_config', params: { set: { scsi1: 'local-lvm:8' } } };

type Turn = (agent: SmallAgent<VirtualClock>) => void;

/** How an op ends when this happens between its receipt and its turn. */
async function endAfter(fields: object, turn: Turn): Promise<string> {
  const agent = await SmallAgent.start(new TestRing([first, other]), new VirtualClock());
  const gate = Promise.withResolvers<void>();
  agent.node.gate = gate.promise;
  const op = {
    idemp_key: 'k',
    agent: AGENT,
    issued_at: new Date(VIRTUAL_EPOCH_MS).toISOString(),
    expires_at: new Date(VIRTUAL_EPOCH_MS + HOUR_MS).toISOString(),
    kind: 'start',
    vmid: 101,
    params: {},
    ...fields,
  };
  const by = 'params' in fields ? [hub, second] : [hub];
  const taken = await agent.accept(bytesOf(signBody(JSON.stringify(op), by)));
  expect(taken.kind).toBe('accepted');
  turn(agent);
  gate.resolve();
  await agent.clock.until(agent.engine.idle(), HOUR_MS);
  const latest = agent.opOf('k')?.latest;
  const isDone = agent.node.sent.length > 0;
  expect(isDone).toBe(latest?.state === 'succeeded');
  return latest?.error?.code ?? latest?.state ?? 'none';
}

test.each<[string, object, Turn, string]>([
  ['nothing has changed', {}, () => undefined, 'succeeded'],
  ['its key is taken out', {}, ({ ring }) => (ring.held = [other]), 'gate_denied'],
  ['the key of another is taken out', {}, ({ ring }) => (ring.held = [first]), 'succeeded'],
  [
    'its keyid has another key now',
    {},
    ({ ring }) => (ring.held = [signerOf({ ...second, keyid: 'hub-1' })]),
    'gate_denied',
  ],
  [
    'its key has another keyid now',
    {},
    ({ ring }) => (ring.held = [signerOf({ ...hub, keyid: 'renamed' })]),
    'succeeded',
  ],
  [
    'its key may not do that any more',
    {},
    ({ ring }) => (ring.held = [signerOf(hub, { kinds: ['stop'] })]),
    'gate_denied',
  ],
  [
    'its key may not touch that guest any more',
    {},
    ({ ring }) => (ring.held = [signerOf(hub, { first: 102 })]),
    'gate_denied',
  ],
  [
    'its key has come to its not_after',
    {},
    ({ ring }) => (ring.held = [signerOf(hub, { notAfterMs: VIRTUAL_EPOCH_MS - 1 })]),
    'gate_denied',
  ],
  [
    'one of two keys is left for the irreversible',
    DISK,
    ({ ring }) => (ring.held = [first]),
    'gate_denied',
  ],
  ['two of two are left', DISK, () => undefined, 'succeeded'],
  ['it has expired', {}, ({ clock }) => clock.stepWall(HOUR_MS + 61_000), 'expired'],
  [
    'it has expired by less than the clocks may differ',
    {},
    ({ clock }) => clock.stepWall(HOUR_MS + 59_000),
    'succeeded',
  ],
  [
    'the clock has gone back behind the journal',
    {},
    ({ clock }) => clock.stepWall(-61_000),
    'service_unavailable',
  ],
])('a waiting op, when %s', async (_name, fields, turn, end) => {
  expect(await endAfter(fields, turn)).toBe(end);
});
