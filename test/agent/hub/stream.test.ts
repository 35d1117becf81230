/** What a hub's stream leaves in the journal: no more than its ops are worth. */
import { expect, test } from 'vitest';
import type { EnvelopeResult } from '../../../src/agent/control/ports.ts';
import type { StreamAnswer } from '../../../src/agent/hub/hub-client.ts';
import { HubStream } from '../../../src/agent/hub/stream.ts';
import { parseOpId } from '../../../src/reconcile/ids.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const opId = parseOpId('0000000000000001');

/** What is noted and told when these events come in one connection, then the end. */
async function runStream(
  events: readonly EnvelopeResult['kind'][],
): Promise<{ readonly noted: readonly string[]; readonly refusals: readonly object[] }> {
  const clock = new VirtualClock();
  const noted: string[] = [];
  const refusals: object[] = [];
  const stop = new AbortController();
  const left = [...events];
  async function* body(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(events.map((_, index) => `id: ${index + 1}\ndata: x\n\n`).join(''));
  }
  const answers: StreamAnswer[] = [{ kind: 'open', body: body() }];
  const stream = new HubStream({
    clock,
    random: seededRandom(1),
    client: {
      openStream: async () => answers.shift() ?? (stop.abort(), { kind: 'rejected', status: 503 }),
      postReceipt: async () => ({ kind: 'answered', status: 204 }),
    },
    accept: async () => {
      const kind = left.shift() ?? 'refused';
      if (kind === 'refused') {
        return { kind, code: 'signature_invalid', message: 'no', keyids: ['hub-1'] };
      }
      if (opId === null) throw new Error('no op id');
      return { kind, opId };
    },
    signer: {
      refusal: () => ({ payloadType: 'refusal', payload: Buffer.alloc(0), signatures: [] }),
    },
    cursor: null,
    keepCursor: async (cursor) => void noted.push(cursor),
    onRefused: (refusal) => refusals.push(refusal),
    onState: () => undefined,
  });
  await clock.until(stream.run(stop.signal), 600_000);
  return { noted, refusals };
}

test.each<['refused' | 'repeat']>([['refused'], ['repeat']])(
  'a flood of what is %s notes its place once a second, and its last when it ends',
  async (kind) => {
    const { noted } = await runStream(Array.from({ length: 5_000 }, () => kind));
    expect(noted).toEqual(['1', '5000']);
  },
);

test('an op that was taken in is noted at once', async () => {
  const events = ['refused', 'refused', 'accepted', 'refused', 'accepted'] as const;
  expect((await runStream(events)).noted).toEqual(['1', '3', '5']);
});

test('an op that was refused is told of once the hub has its refusal', async () => {
  const { refusals } = await runStream(['accepted', 'refused']);
  const told = { code: 'signature_invalid', message: 'no', keyids: ['hub-1'] };
  expect(refusals).toEqual([{ ...told, ids: { event_id: '2' } }]);
});
