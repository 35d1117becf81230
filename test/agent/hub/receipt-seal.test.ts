/** What `GET /v1/ops/{op_id}` signs: ends that no crash can take back. */
import { expect, test } from 'vitest';
import { readWholeOp, type WholeOp } from '../../../src/agent/control/whole-op.ts';
import { makeSigningKey } from '../../../src/agent/hub/agent-key.ts';
import { createAgentSigner } from '../../../src/agent/hub/agent-signer.ts';
import { ReceiptSeal } from '../../../src/agent/hub/receipt-seal.ts';
import { JournalReader } from '../../../src/journal/reader.ts';
import type { MemoryDisk } from '../../support/memory-disk.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { RING, sealed } from './bad-envelopes.ts';
import { TestRing } from './signing.ts';
import { AGENT, SmallAgent } from './small-agent.ts';

/** Its syncs begin and wait for `gate`. */
function heldDisk(disk: MemoryDisk, held: { gate: Promise<void> }): MemoryDisk {
  const openAppend = disk.openAppend.bind(disk);
  disk.openAppend = async (name) => {
    const file = await openAppend(name);
    return {
      ...file,
      sync: async () => {
        await held.gate;
        await file.sync();
      },
    };
  };
  return disk;
}

test('an end that is written and not yet synced is shown, and signed only afterwards', async () => {
  const held = { gate: Promise.resolve() };
  const agent = await SmallAgent.start(new TestRing(RING), new VirtualClock());
  await agent.restart((disk) => heldDisk(disk.afterKill(), held));
  const { engine, journal } = agent;
  const receipts = new ReceiptSeal({
    durableSeq: journal.stats().nextSeq - 1,
    isAtWork: (opId) => engine.isAtWork(opId),
  });
  agent.events.subscribe((event) => {
    if (event.kind === 'op') receipts.noteRecord(event.record);
  });
  const signer = createAgentSigner(AGENT, makeSigningKey());
  const read = (opId: string): Promise<WholeOp> =>
    readWholeOp(opId, {
      history: new JournalReader(agent.disk),
      ledger: journal.ledger,
      engine,
      sealReceipt: (latest) => receipts.seal(latest, signer),
    });
  const sync = Promise.withResolvers<void>();
  const { api } = agent.node;
  const start = api.start.bind(api);
  api.start = async (...args) => {
    const answer = await start(...args);
    held.gate = sync.promise;
    return answer;
  };
  const taken = await agent.accept(sealed({}));
  if (taken.kind !== 'accepted') throw new Error(taken.kind);
  let op = await read(taken.opId);
  while (op.state !== 'succeeded') op = await read(taken.opId);
  expect(op.signed_receipt).toBeUndefined();
  sync.resolve();
  await engine.idle();
  expect((await read(taken.opId)).signed_receipt).toBeDefined();
  agent.kill();
});
