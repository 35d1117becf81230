/** Envelopes of a signer that is not ours, and what an envelope's bytes may and may not be. */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addSignature,
  envelopeText,
  parseEnvelope,
  preAuthEncoding,
} from '../../../src/agent/hub/dsse.ts';
import { parseOpPayload } from '../../../src/agent/hub/op-payload.ts';
import { parseStrictJson } from '../../../src/agent/hub/strict-json.ts';
import { verifyEnvelope } from '../../../src/agent/hub/verify.ts';
import { signerOf } from './signing.ts';

interface Vectors {
  readonly keys: Readonly<Record<string, { readonly private: string; readonly public: string }>>;
  readonly envelopes: Readonly<Record<string, object>>;
}

const vectors: Vectors = JSON.parse(
  readFileSync(new URL('../../fixtures/dsse/envelopes.json', import.meta.url), 'utf8'),
);

function keyOf(keyid: string) {
  const pem = vectors.keys[keyid];
  if (pem === undefined) throw new Error(`no key ${keyid}`);
  return {
    keyid,
    publicKey: createPublicKey(pem.public),
    privateKey: createPrivateKey(pem.private),
  };
}

const ring = [signerOf(keyOf('hub-1')), signerOf(keyOf('hub-2'))];

function envelopeOf(bytes: Uint8Array) {
  const parsed = parseEnvelope(bytes);
  if (parsed.kind === 'invalid') throw new Error(parsed.reason);
  return parsed.envelope;
}

const vector = (name: string) => envelopeOf(Buffer.from(JSON.stringify(vectors.envelopes[name])));

test('the pre-authentication encoding is the one of the specification', () => {
  const encoded = preAuthEncoding({
    payloadType: 'http://example.com/HelloWorld',
    payload: Buffer.from('hello world'),
  });
  expect(encoded.toString()).toBe('DSSEv1 29 http://example.com/HelloWorld 11 hello world');
});

test("lengths are counted in bytes, not in a string's units", () => {
  const encoded = preAuthEncoding({ payloadType: 'ü☕', payload: Buffer.from('é') });
  expect(encoded.toString()).toBe('DSSEv1 5 ü☕ 2 é');
});

describe('envelopes of an independent signer', () => {
  test.each([
    ['one_signature', ['hub-1'], { kind: 'stop' }],
    ['two_signatures', ['hub-1', 'hub-2'], { kind: 'set_config' }],
  ])('%s is verified', (name, keyids, action) => {
    const verified = verifyEnvelope(vector(name), { signers: ring, nowMs: 0 });
    expect(verified).toMatchObject({ kind: 'verified', op: { agent: 'pve1', action } });
    const signers = verified.kind === 'verified' ? verified.signers : [];
    expect(signers.map(({ keyid }) => keyid)).toEqual(keyids);
  });

  test("a stranger's is not", () => {
    expect(verifyEnvelope(vector('stranger'), { signers: ring, nowMs: 0 })).toMatchObject({
      problem: { code: 'signature_invalid' },
    });
  });

  test('ours is the same to the byte', () => {
    const theirs = vector('two_signatures');
    const unsigned = { ...theirs, signatures: [] };
    const once = addSignature(unsigned, keyOf('hub-1'));
    expect(addSignature(once, keyOf('hub-2'))).toEqual(theirs);
  });
});

test('a key that signs twice leaves one signature', () => {
  const key = keyOf('hub-1');
  const once = addSignature(vector('one_signature'), key);
  expect(once.signatures).toHaveLength(1);
  expect(addSignature(once, { ...key, keyid: 'other' }).signatures).toHaveLength(1);
});

test('what is written is read back', () => {
  const signature = fc.record({
    keyid: fc.string({ maxLength: 20 }),
    signature: fc.uint8Array({ minLength: 64, maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
  });
  const envelope = fc.record({
    payloadType: fc.string({ maxLength: 60 }),
    payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    signatures: fc.array(signature, { maxLength: 4 }),
  });
  fc.assert(
    fc.property(envelope, (made) => {
      expect(envelopeOf(Buffer.from(envelopeText(made)))).toEqual(made);
    }),
  );
});

describe('any bytes', () => {
  const good = Buffer.from(JSON.stringify(vectors.envelopes['two_signatures']));
  const edit = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 4 }));

  /** The good envelope with a few bytes changed, cut out or put in. */
  const mutated = fc.array(edit, { minLength: 1, maxLength: 6 }).map((edits) => {
    let bytes = Buffer.from(good);
    for (const [where, byte, length] of edits) {
      const at = where % bytes.length;
      const middle = Buffer.alloc(length, byte);
      bytes = Buffer.concat([bytes.subarray(0, at), middle, bytes.subarray(at + 1)]);
    }
    return bytes;
  });

  test.each<[string, fc.Arbitrary<Buffer>]>([
    ['any', fc.uint8Array({ maxLength: 500 }).map((bytes) => Buffer.from(bytes))],
    ['any JSON', fc.json().map((text) => Buffer.from(text))],
    ['an envelope with a few changes', mutated],
  ])('%s: a value comes of it, and only the signed op is ever verified', (_name, arbitrary) => {
    const signed = vector('two_signatures').payload;
    fc.assert(
      fc.property(arbitrary, (bytes) => {
        const parsed = parseEnvelope(bytes);
        if (parsed.kind === 'invalid') return;
        const verified = verifyEnvelope(parsed.envelope, { signers: ring, nowMs: 0 });
        if (verified.kind === 'verified') expect(parsed.envelope.payload).toEqual(signed);
      }),
      { numRuns: 1_500 },
    );
  });

  test('as a payload: a value comes of it', () => {
    const payload = Buffer.from(vector('one_signature').payload).toString();
    const text = fc.oneof(
      fc.json(),
      fc.tuple(fc.nat(payload.length), fc.string({ maxLength: 3 })).map(([at, piece]) => {
        return payload.slice(0, at) + piece + payload.slice(at + 1);
      }),
    );
    fc.assert(
      fc.property(text, (it) => {
        expect(['op', 'invalid']).toContain(parseOpPayload(Buffer.from(it)).kind);
      }),
      { numRuns: 1_000 },
    );
  });
});

function parse(text: string) {
  return parseStrictJson(Buffer.from(text), { maxDepth: 16, areNumbersExact: true });
}

describe('strict JSON', () => {
  test('is JSON.parse, wherever no key stands twice, and none is __proto__', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), fc.nat(3), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        fc.pre(!text.includes('"__proto__":'));
        expect(parse(text)).toEqual({ kind: 'json', value: JSON.parse(text) });
      }),
    );
  });

  test.each([
    ['{"a":1,"a":2}', 'twice'],
    ['{"a":1,"\\u0061":2}', 'twice'],
    ['[{"b":{"a":1, "c":[{}], "a" :2}}]', 'twice'],
    ['{"":1,"":2}', 'twice'],
    ['{"__proto__":1,"__proto__":2}', '__proto__'],
    ['{"a":{"__proto__":{}}}', '__proto__'],
    ['{"\\u005f_proto__":1}', '__proto__'],
    [`{"${'k'.repeat(60_000)}":1,"${'k'.repeat(60_000)}":2}`, `"${'k'.repeat(64)}…" stands`],
    ['[12345678901234567890]', '12345678901234567890 reads back as 12345678901234567000'],
    ['{"a":1.10}', '1.10 reads back as 1.1'],
    ['{"a":1e400}', 'Infinity'],
    ['{"a":-0}', 'reads back as 0'],
    ['{"a":1e3}', 'reads back as 1000'],
    [`[0.${'1'.repeat(90)}]`, `0.${'1'.repeat(62)}… reads back as 0.1111111111111111`],
    ['"\\ud800"', 'surrogate'],
    ['{"\\udc00":1}', 'surrogate'],
    ['[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]', 'deeper than 16'],
    ['{"a":1,}', 'not JSON'],
    ['', 'not JSON'],
    ["{'a':1}", 'not JSON'],
    ['NaN', 'not JSON'],
    ['1 2', 'not JSON'],
    ['\uFEFF{}', 'not JSON'],
  ])('%s is refused', (text, reason) => {
    expect(parse(text)).toMatchObject({
      kind: 'invalid',
      reason: expect.stringContaining(reason),
    });
  });

  test.each([
    ['{"a":{"a":1},"b":[{"a":1},{"a":2}]}'],
    ['{"a":"\\"a\\":1,{[","b":"\\\\"}'],
    ['"\\ud83d\\ude00"'],
    ['{"a":[-1.5,1e+21,5e-324,"1.10"],"-1.10":true}'],
  ])('%s is taken', (text) => {
    expect(parse(text)).toEqual({ kind: 'json', value: JSON.parse(text) });
  });

  test('a megabyte of quotes and backslashes costs no more than its length', () => {
    const text = JSON.stringify('\\"'.repeat(250_000));
    expect(parse(text).kind).toBe('json');
  });
});
