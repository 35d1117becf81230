/**
 * Signed ops. Every input is taken for an envelope as it is, and for a payload that somebody with a
 * valid key has signed.
 */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { createClockGuard } from '../../../src/agent/hub/clock-guard.ts';
import { envelopeText, parseEnvelope } from '../../../src/agent/hub/dsse.ts';
import { createIntake } from '../../../src/agent/hub/intake.ts';
import { parseOpPayload } from '../../../src/agent/hub/op-payload.ts';
import type { OpRequest } from '../../../src/reconcile/intake.ts';
import { bytesOf, signBody, signerOf, type TestKey, TestRing } from '../../agent/hub/signing.ts';
import { type FuzzTarget, insist } from '../target.ts';

const VECTORS = new URL('../../fixtures/dsse/envelopes.json', import.meta.url);
const NOW_MS = Date.parse('2026-11-20T12:00:00Z');
const OP = {
  idemp_key: 'k-1',
  agent: 'pve1',
  issued_at: '2026-11-20T11:59:00Z',
  expires_at: '2026-11-20T13:00:00+00:00',
  kind: 'stop',
  vmid: 101,
  params: { mode: 'shutdown', timeout_s: 60, force: false },
  correlation_id: 'c-1',
  hold: '1h',
  precondition: { digest: 'a'.repeat(40), power: 'running' },
};

const vectors: { readonly keys: Readonly<Record<string, { readonly private: string }>> } =
  JSON.parse(readFileSync(VECTORS, 'utf8'));

function readKey(): TestKey {
  const privateKey = createPrivateKey(vectors.keys['hub-1']?.private ?? '');
  return { keyid: 'hub-1', privateKey, publicKey: createPublicKey(privateKey) };
}

const key = readKey();
const clock = { now: () => NOW_MS, monotonicMs: () => 0 };
const submitted: OpRequest[] = [];
const accept = createIntake({
  agent: 'pve1',
  clock,
  clockGuard: createClockGuard({ clock, lastRecordAtMs: 0 }),
  signers: new TestRing([signerOf(key)]),
  hashPayload: (text) => text,
  keys: { hasKey: () => false, forgottenToMs: () => 0, lostToMs: () => 0 },
  submit: async (request) => {
    submitted.push(request);
    return { kind: 'refused', problem: { code: 'not_found', message: 'no guest here' } };
  },
});

export const target: FuzzTarget = {
  seeds: () => [
    JSON.stringify(OP),
    JSON.stringify({ ...OP, kind: 'start', params: {} }),
    JSON.stringify({ ...OP, kind: 'set_config', params: { set: { cores: 4 }, delete: ['x'] } }),
    JSON.stringify(signBody(JSON.stringify(OP), [key])),
  ],
  words: [
    '"params":{}',
    'restart',
    'set_config',
    '\\ud800',
    '"kind"',
    '\u00e9',
    'hub-1',
    '1ms',
    '==',
  ],
  async run(input) {
    const parsed = parseEnvelope(input);
    if (parsed.kind === 'envelope') {
      const again = parseEnvelope(Buffer.from(envelopeText(parsed.envelope)));
      insist(isDeepStrictEqual(again, parsed), 'an envelope that is printed reads the same');
    }
    const loose = await accept(input);
    insist(loose.kind === 'refused', 'nothing here submits');
    submitted.length = 0;
    const op = parseOpPayload(input);
    const result = await accept(bytesOf(signBody(input, [key])));
    insist(result.kind === 'refused', 'nothing here submits');
    insist(submitted.length <= 1, 'one envelope is one op');
    insist(submitted.length === 0 || op.kind === 'op', 'only an op is submitted');
    const isInvalid = op.kind === 'invalid';
    insist(!isInvalid || result.code === 'invalid_request', 'no op is invalid_request');
  },
};
