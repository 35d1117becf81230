/** Laws of the intake, for payloads nobody thought of, signed by somebody who may do anything. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ERROR_CODES } from '../../../src/reconcile/errors.ts';
import { VIRTUAL_EPOCH_MS, VirtualClock } from '../../support/virtual-clock.ts';
import { bytesOf, makeKey, signBody, signerOf, TestRing } from './signing.ts';
import { AGENT, SmallAgent } from './small-agent.ts';

const keys = [makeKey('hub-1'), makeKey('hub-2')];
const MINUTE_MS = 60_000;

const instant = fc
  .integer({ min: -90, max: 25 * 60 })
  .map((minutes) => new Date(VIRTUAL_EPOCH_MS + minutes * MINUTE_MS).toISOString());
const value = fc.oneof(fc.string({ maxLength: 12 }), fc.integer(), fc.boolean());
const configKey = fc.constantFrom(
  'cores',
  'memory',
  'description',
  'scsi1',
  'cipassword',
  '__proto__',
);
const stopParams = fc.record(
  { mode: fc.constantFrom('stop', 'shutdown'), timeout_s: fc.integer({ min: 0, max: 600 }) },
  { requiredKeys: [] },
);
const configParams = fc.record(
  {
    set: fc.dictionary(configKey, value, { maxKeys: 3 }),
    delete: fc.array(configKey, { maxLength: 2 }),
  },
  { requiredKeys: [] },
);
const action = fc.oneof(
  fc.record({ kind: fc.constant('start'), params: fc.constant({}) }),
  fc.record({ kind: fc.constantFrom('stop', 'restart'), params: stopParams }),
  fc.record({ kind: fc.constant('set_config'), params: configParams }),
);

/** Mostly what could be; now and then anything at all, in any field. */
const rarely = <Value>(usual: fc.Arbitrary<Value>): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 20, arbitrary: usual },
    { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 6 }) },
  );
const fields = fc.record(
  {
    idemp_key: rarely(fc.string({ minLength: 1, maxLength: 3 })),
    agent: rarely(fc.constant(AGENT)),
    issued_at: rarely(fc.constant(new Date(VIRTUAL_EPOCH_MS).toISOString())),
    expires_at: rarely(instant),
    vmid: rarely(fc.integer({ min: 98, max: 142 })),
    hold: rarely(fc.constantFrom('1h', '0s', '400d')),
    precondition: rarely(fc.record({ power: fc.constantFrom('running', 'stopped') })),
  },
  { requiredKeys: ['idemp_key', 'agent', 'issued_at', 'expires_at', 'vmid'] },
);
const payload = fc.tuple(fields, rarely(action)).map(([some, others]) => {
  return { ...some, ...(typeof others === 'object' ? others : {}) };
});

test('a signed payload is taken in as what it says, or refused with a code and without a trace', async () => {
  const agent = await SmallAgent.start(
    new TestRing(keys.map((key) => signerOf(key))),
    new VirtualClock(),
  );
  const met = { accepted: 0, repeat: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(payload, fc.integer({ min: 0, max: 2 }), async (said, signers) => {
      const { records } = agent.journal.stats();
      const sent = agent.node.sent.length;
      const text = JSON.stringify(said);
      const result = await agent.accept(bytesOf(signBody(text, keys.slice(0, signers))));
      met[result.kind] += 1;
      if (result.kind !== 'accepted') {
        expect(agent.journal.stats().records).toBe(records);
        if (result.kind === 'refused') expect(ERROR_CODES).toContain(result.code);
        expect(agent.node.sent).toHaveLength(sent);
        return;
      }
      const first = agent.journal.ledger.findOp(result.opId)?.first;
      const { kind, vmid, idemp_key } = JSON.parse(text);
      expect(first).toMatchObject({ kind, vmid, idemp_key, state: 'received', origin: 'hub' });
      expect(first?.signers).toHaveLength(signers);
      await agent.clock.until(agent.engine.idle(), 3_600_000);
    }),
    { numRuns: 600 },
  );
  expect(met.accepted).toBeGreaterThan(5);
  expect(met.refused).toBeGreaterThan(5);
});
