/** `push --wait` waits for the receipt, and believes what the agent has signed and nobody else. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Ended } from '../program.ts';
import { runHere } from '../run-here.ts';
import { makeKey, signBody } from './signing.ts';

const RECEIPT = 'application/vnd.pve-reconciler.receipt.v1+json';
const OP_ID = '0000000000000001';
const [hub, agent, stranger] = [makeKey('hub-1'), makeKey('pve1'), makeKey('pve1')];
const END = {
  agent: 'pve1',
  op_id: OP_ID,
  idemp_key: 'k',
  vmid: 101,
  kind: 'start',
  state: 'succeeded',
};
const FAILED = {
  op_id: OP_ID,
  state: 'failed',
  attempt: 1,
  error: { code: 'task_failed', message: 'no' },
};

let dir = '';
let server: Server;
/** What the agent, or whoever is in its place, answers: one after the other, the last one for ever. */
let answers: unknown[] = [];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'push-'));
  const pem = agent.publicKey.export({ type: 'spki', format: 'pem' });
  writeFileSync(join(dir, 'agent.pub.pem'), pem);
  const nowMs = Date.now();
  const op = {
    idemp_key: 'k',
    agent: 'pve1',
    issued_at: new Date(nowMs).toISOString(),
    expires_at: new Date(nowMs + 60_000).toISOString(),
    kind: 'start',
    vmid: 101,
    params: {},
  };
  const envelope = JSON.stringify(signBody(JSON.stringify(op), [hub]));
  writeFileSync(join(dir, 'op.json'), envelope);
  server = createServer(({ method }, response) => {
    // As `control.public`, which shows no ops.
    if (method === 'GET') return response.writeHead(404).end();
    const [answer] = answers.length > 1 ? answers.splice(0, 1) : answers;
    return response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(dir, { recursive: true });
});

function push(...args: string[]): Promise<Ended> {
  const { port } = server.address() as AddressInfo;
  return runHere('push', join(dir, 'op.json'), '--to', `http://127.0.0.1:${port}`, ...args);
}

const pushProven = (...args: string[]): Promise<Ended> =>
  push('--wait', '--agent-key', join(dir, 'agent.pub.pem'), ...args);

function receiptOf(said: object, by = agent, type = RECEIPT): object {
  return { ...END, signed_receipt: signBody(JSON.stringify(said), [by], type) };
}

test('an attempt that failed is not the end: the next one may follow', async () => {
  answers = [{ ...FAILED, state: 'received' }, FAILED, receiptOf(END)];
  const ended = await push('--wait');
  expect(ended).toMatchObject({ exit: 0, out: `${OP_ID}  succeeded\n` });
  expect(ended.err).toBe(`${OP_ID}  received\n${OP_ID}  failed\n`);
});

test('an op that was taken has not expired when its repeat is: it goes on', async () => {
  answers = [
    { ...END, state: 'started' },
    { code: 'expired', detail: 'it expired' },
  ];
  const ended = await push('--wait');
  expect(ended).toMatchObject({ exit: 1, out: '' });
  expect(ended.err).toMatch(/^error \[interrupted\] the op was taken.*it expired.*op_id 0000/m);
  expect(ended.err).toMatch(/^hint: .*ops show 0000000000000001/m);
  answers = [{ code: 'expired', detail: 'it expired' }];
  expect(await push('--wait')).toMatchObject({ exit: 65 });
});

test('what the agent has signed counts, not what is said around it', async () => {
  const said = { ...END, state: 'failed', error: { code: 'timeout', message: 'too slow' } };
  answers = [receiptOf(said)];
  const ended = await pushProven('--json');
  expect(ended.exit).toBe(1);
  expect(JSON.parse(ended.out)).toMatchObject({ state: 'failed', error: { code: 'timeout' } });
});

describe('proves nothing', () => {
  test.each<[string, object]>([
    ['a receipt by another key', receiptOf(END, stranger)],
    ['a receipt of another op', receiptOf({ ...END, idemp_key: 'other' })],
    ['a receipt of another guest', receiptOf({ ...END, vmid: 102 })],
    ['a receipt of another agent', receiptOf({ ...END, agent: 'pve2' })],
    ['something else it has signed', receiptOf(END, agent, 'text/plain')],
    ['a receipt without its end', receiptOf({ ...END, state: 'started' })],
    ['an envelope without a signature', { ...END, signed_receipt: signBody('{}', []) }],
  ])('%s', async (_name, answer) => {
    answers = [answer];
    const ended = await pushProven();
    expect(ended).toMatchObject({ exit: 77, out: '' });
    expect(ended.err).toMatch(/^error \[signature_invalid\] the receipt proves nothing: /);
  });
});

test.each<[string, unknown]>([
  ['an op id to break out of its line', { ...END, op_id: '\u001B[2J' }],
  ['a page', '<html>'],
  ['more than an agent would', `"${'x'.repeat(5_000_000)}"`],
])('from whoever answers with %s nothing is taken', async (_name, answer) => {
  answers = [answer];
  const ended = await push();
  expect(ended).toMatchObject({ exit: 69, out: '' });
  expect(ended.err).toMatch(/^error \[service_unavailable\] /);
});

test('an address with more than a host and a port is refused, not cut short', async () => {
  expect(await push('--to', 'http://127.0.0.1:1/v2')).toMatchObject({
    exit: 64,
    err: expect.stringContaining('http://127.0.0.1:1/v2: expected http(s)://HOST:PORT'),
  });
});

test('--agent-key without --wait would prove nothing', async () => {
  expect(await push('--agent-key', join(dir, 'agent.pub.pem'))).toMatchObject({ exit: 64 });
});
