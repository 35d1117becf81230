/** docs/HUB.md is what a hub is written from: its example is verified, its numbers are the code's. */
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { EventParser } from '../../../src/agent/control/server-events.ts';
import {
  RECEIPT_PAYLOAD_TYPE,
  REFUSAL_PAYLOAD_TYPE,
  REQUEST_PAYLOAD_TYPE,
} from '../../../src/agent/hub/agent-signer.ts';
import {
  ENVELOPE_MAX_BYTES,
  isSignedBy,
  parseEnvelope,
  preAuthEncoding,
} from '../../../src/agent/hub/dsse.ts';
import { createHubClient } from '../../../src/agent/hub/hub-client.ts';
import { OP_PAYLOAD_TYPE, parseOpPayload } from '../../../src/agent/hub/op-payload.ts';
import { LATER_MS, TRIES_IN_ORDER } from '../../../src/agent/hub/outbox.ts';
import { openReceipt } from '../../../src/agent/hub/receipt-check.ts';
import { SILENCE_MAX_MS } from '../../../src/agent/hub/stream.ts';
import { FakeHub } from './fake-hub.ts';

const text = readFileSync(new URL('../../../docs/HUB.md', import.meta.url), 'utf8');
const [agentKey, signerKey] = [...text.matchAll(/-----BEGIN[^`]*?END PUBLIC KEY-----/g)].map(
  ([pem]) => createPublicKey(pem),
);
const events = [...text.matchAll(/^```\n(id: \d+\n[^`]*)```$/gm)].flatMap(([, raw = '']) => {
  return new EventParser({ maxChars: ENVELOPE_MAX_BYTES }).push(Buffer.from(raw)) ?? [];
});
const posted = [...text.matchAll(/^POST [^`]*content-length: (\d+)\n\n(.*)$/gm)];
const [, proof = ''] = /^authorization: DSSE (\S+)$/m.exec(text) ?? [];

/** Its payload, if the key has signed it, and its type. */
function open(envelope: string, key = agentKey): { type: string; payload: string } {
  const parsed = parseEnvelope(Buffer.from(envelope));
  if (parsed.kind === 'invalid' || key === undefined) throw new Error('not in the document');
  const encoded = preAuthEncoding(parsed.envelope);
  const isSigned = parsed.envelope.signatures.some((each) =>
    isSignedBy(encoded, each.signature, key),
  );
  expect(isSigned).toBe(true);
  return { type: parsed.envelope.payloadType, payload: parsed.envelope.payload.toString() };
}

test('each envelope of the example is signed, of the type said, and shown with its payload', () => {
  const sent = events.map(({ data }) => open(data, signerKey));
  const told = posted.map(([, length, body = '']) => {
    expect(body).toHaveLength(Number(length));
    return open(body);
  });
  const asked = open(Buffer.from(proof, 'base64').toString());
  const all = [asked, ...sent, ...told];
  expect(all.map(({ type }) => type)).toEqual([
    REQUEST_PAYLOAD_TYPE,
    OP_PAYLOAD_TYPE,
    OP_PAYLOAD_TYPE,
    RECEIPT_PAYLOAD_TYPE,
    REFUSAL_PAYLOAD_TYPE,
  ]);
  for (const { payload } of [asked, ...sent.slice(0, 1), ...told]) {
    expect(text).toContain(`\n\`\`\`json\n${payload}\n\`\`\`\n`);
  }
  for (const { type } of all)
    expect(text).toMatch(new RegExp(`^\\| \`${type.split('.')[2]}\` \\|`, 'm'));
});

test('its events are ops, and its receipt is that of the first', () => {
  expect(events.map(({ type, id }) => [type, id])).toEqual([
    ['op', '1'],
    ['op', '2'],
  ]);
  const [first] = events.map(({ data }) =>
    parseOpPayload(Buffer.from(open(data, signerKey).payload)),
  );
  if (first?.kind !== 'op' || agentKey === undefined) throw new Error('no op');
  const receipt = JSON.parse(posted[0]?.[2] ?? '');
  expect(openReceipt(receipt, { op: first.op, agentKey })).toMatchObject({ state: 'succeeded' });
});

test('the requests it names are those the agent makes', async () => {
  const hub = new FakeHub(agentKey?.export({ type: 'spki', format: 'pem' }).toString() ?? '');
  const made: string[] = [];
  hub.intercept = ({ method, url, headers }, response) => {
    const names = ['accept', 'authorization', 'last-event-id', 'content-type'];
    const sent = names.filter((name) => headers[name] !== undefined);
    made.push(
      `| \`${method} ${url?.replace('/hub', 'BASE').replace('pve1', 'AGENT')}\` |`,
      ...sent,
    );
    response.writeHead(404).end();
    return true;
  };
  await hub.start();
  const client = createHubClient({
    url: hub.url,
    agent: 'pve1',
    trust: { kind: 'ca', ca: hub.ca },
    signRequest: () => '{}',
  });
  const { signal } = new AbortController();
  await client.openStream('7', signal);
  await client.postReceipt('{}', signal);
  await client.close();
  await hub.stop();
  expect(made).toHaveLength(6);
  for (const each of made) expect(text).toContain(each);
});

test('its numbers are those of the code', () => {
  expect(text).toContain(`After ${SILENCE_MAX_MS / 1000} s of nothing`);
  expect(text).toContain(`at most ${ENVELOPE_MAX_BYTES / 1024} KiB, an event`);
  expect(text).toContain(`answered ${TRIES_IN_ORDER} times in a row`);
  expect(text).toContain(`put aside for ${LATER_MS / 60_000} minutes`);
});
