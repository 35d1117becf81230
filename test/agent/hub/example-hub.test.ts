/** Whom the example hub hands an agent's ops to, and whose receipts it keeps. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAgentSigner } from '../../../src/agent/hub/agent-signer.ts';
import { envelopeText } from '../../../src/agent/hub/dsse.ts';
import { ExampleHub } from './example-hub.ts';
import { makeKey, signBody } from './signing.ts';

const TYPE = (name: string): string => `application/vnd.pve-reconciler.${name}.v1+json`;
const MINUTE_MS = 60_000;
const [own, other] = [makeKey('pve1'), makeKey('pve2')];

let dir = '';
let hub: ExampleHub;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'example-hub-'));
  hub = await ExampleHub.start(join(dir, 'data'));
  for (const { keyid, publicKey } of [own, other]) hub.admit(keyid, pem(publicKey));
});
afterAll(async () => {
  await hub.kill();
  rmSync(dir, { recursive: true });
});

function pem(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

function call(method: string, path: string, headers: object, body = ''): Promise<number> {
  return new Promise((resolve, reject) => {
    const asking = request(`${hub.url}/v1/agents/pve1/${path}`, {
      method,
      ca: hub.ca,
      agent: false,
      headers: { ...headers, ...(body === '' ? {} : { 'content-length': body.length }) },
    });
    asking.on('error', reject).on('response', (response) => {
      response.destroy();
      resolve(response.statusCode ?? 0);
    });
    asking.end(body);
  });
}

function ask(proof: string | null): Promise<number> {
  const authorization = `DSSE ${Buffer.from(proof ?? '').toString('base64')}`;
  return call('GET', 'ops', proof === null ? {} : { authorization });
}

interface Asked {
  readonly agent?: string;
  readonly at?: string;
  readonly leftMs?: number;
  readonly by?: typeof own;
  readonly type?: string;
}

function proof({
  agent = 'pve1',
  at = hub.url,
  leftMs = MINUTE_MS,
  by = own,
  type,
}: Asked): string {
  const expires_at = new Date(Date.now() + leftMs).toISOString();
  const body = JSON.stringify({ agent, hub: at, issued_at: expires_at, expires_at });
  return JSON.stringify(signBody(body, [by], TYPE(type ?? 'request')));
}

test("the agent's own proof opens its stream", async () => {
  const privateKey = createPrivateKey(own.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const key = { privateKey, publicKeyPem: pem(createPublicKey(privateKey)), keySha256: '' };
  const signer = createAgentSigner('pve1', key);
  const made = envelopeText(signer.request({ hub: hub.url, nowMs: Date.now() }));
  expect(await ask(made)).toBe(200);
});

test.each<[string, () => string | null]>([
  ['nothing', () => null],
  ['a proof by another agent', () => proof({ by: other, agent: 'pve2' })],
  ["another agent's signature under its name", () => proof({ by: other })],
  ['a proof for another hub', () => proof({ at: 'https://hub.example' })],
  ['a proof of an hour ago', () => proof({ leftMs: -60 * MINUTE_MS })],
  ['a proof of an hour ahead', () => proof({ leftMs: 60 * MINUTE_MS })],
  ['a receipt', () => proof({ type: 'receipt' })],
])('%s does not', async (_name, made) => {
  expect(await ask(made())).toBe(401);
});

test.each<[string, () => string, number]>([
  ['its receipt', () => proof({ type: 'receipt' }), 204],
  ['its refusal', () => proof({ type: 'refusal' }), 204],
  ['a receipt by another', () => proof({ type: 'receipt', by: other }), 403],
  ['its proof', () => proof({}), 403],
  ['no JSON', () => '{', 400],
])('as a receipt, %s: %s', async (_name, made, status) => {
  const before = hub.receipts().length;
  expect(await call('POST', 'receipts', {}, made())).toBe(status);
  expect(hub.receipts().length - before).toBe(status === 204 ? 1 : 0);
});
