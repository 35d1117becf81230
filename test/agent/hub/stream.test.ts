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
  ids: readonly string[] = events.map((_, index) => String(index + 1)),
): Promise<{
  readonly noted: readonly string[];
  readonly refusals: readonly object[];
  readonly unkept: readonly string[];
}> {
  const clock = new VirtualClock();
  const noted: string[] = [];
  const refusals: object[] = [];
  const unkept: string[] = [];
  const stop = new AbortController();
  const left = [...events];
  async function* body(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(ids.map((id) => `id: ${id}\ndata: x\n\n`).join(''));
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
    onUnkept: (id) => unkept.push(id),
    onState: () => undefined,
  });
  await clock.until(stream.run(stop.signal), 600_000);
  return { noted, refusals, unkept };
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

test('an id that cannot be a header is no place in the stream, and said to be so once', async () => {
  const ids = ['2026-11-28 04:00 #1', 'op-\u00e9-2', '', ' 3', 'x'.repeat(257), '5'];
  const { noted, unkept } = await runStream(
    Array.from(ids, () => 'accepted'),
    ids,
  );
  expect(noted).toEqual(['2026-11-28 04:00 #1', '5']);
  expect(unkept).toEqual(['op-\u00e9-2']);
});
