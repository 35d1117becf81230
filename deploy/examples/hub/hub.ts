/**
 * A hub to start from: it keeps signed ops for agents that cannot be reached, hands them out as
 * they call, and keeps the receipts they send. It holds no signing key and decides nothing: whoever
 * takes it over can delay and withhold ops, and not make one.
 *
 *   node hub.ts --listen 0.0.0.0:8443 --cert hub.crt --key hub.key --data DIR
 *
 * DIR/AGENT.pub.pem is the agent's key (`pve-reconciler keys show`). DIR/hub.sock takes ops:
 *
 *   pve-reconciler sign start 101 --agent pve1 --key hub-1.key.pem |
 *     curl -sS --unix-socket DIR/hub.sock --data-binary @- http://hub/v1/ops
 */
import { createPublicKey, verify } from 'node:crypto';
import { appendFileSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { parseArgs } from 'node:util';

/** The agent takes two minutes of silence for a lost connection. */
const KEEPALIVE_MS = 60_000;
const BODY_BYTES_MAX = 256 * 1024;

interface Envelope {
  readonly payload: string;
  readonly payloadType: string;
  readonly signatures: readonly { readonly sig: string }[];
}

const { values } = parseArgs({
  options: {
    listen: { type: 'string', default: '127.0.0.1:8443' },
    cert: { type: 'string', default: 'hub.crt' },
    key: { type: 'string', default: 'hub.key' },
    data: { type: 'string', default: '.' },
  },
});
const streams = new Map<string, Set<ServerResponse>>();

const pathOf = (name: string): string => join(values.data, name);

/** The lines of a file of records; one that was torn by a crash is not there. */
function readLines(name: string): string[] {
  if (!existsSync(pathOf(name))) return [];
  return readFileSync(pathOf(name), 'utf8').split('\n').slice(0, -1).filter(Boolean);
}

/** Durable when it returns. The newline in front ends what a crash has left. */
function append(name: string, line: string): void {
  appendFileSync(pathOf(name), `\n${line}\n`, { flush: true, mode: 0o600 });
}

/** A file's name comes of it: an agent is known if its key is there. */
function isAgent(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name) && existsSync(pathOf(`${name}.pub.pem`));
}

/** An event's id is its place in the file; the agent comes back with the last it has dealt with. */
function eventText(envelope: string, index: number): string {
  return `id: ${index + 1}\nevent: op\ndata: ${envelope}\n\n`;
}

function openStream(agent: string, request: IncomingMessage, response: ServerResponse): void {
  const after = Number(request.headers['last-event-id']) || 0;
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.write(':\n\n');
  readLines(`${agent}.ops.jsonl`).forEach((envelope, index) => {
    if (index >= after) response.write(eventText(envelope, index));
  });
  const open = streams.get(agent) ?? new Set();
  streams.set(agent, open.add(response));
  const keepalive = setInterval(() => response.write(':\n\n'), KEEPALIVE_MS);
  response.on('close', () => {
    clearInterval(keepalive);
    open.delete(response);
  });
}

/** The payload, if this agent has signed it. */
function openReceipt(agent: string, body: Buffer): Record<string, unknown> | null {
  const { payload, payloadType, signatures }: Envelope = JSON.parse(body.toString());
  const bytes = Buffer.from(payload, 'base64');
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${bytes.length} `;
  const signature = Buffer.from(signatures[0]?.sig ?? '', 'base64');
  const key = createPublicKey(readFileSync(pathOf(`${agent}.pub.pem`)));
  const isValid = verify(null, Buffer.concat([Buffer.from(head), bytes]), key, signature);
  return isValid ? JSON.parse(bytes.toString()) : null;
}

/** Receipts come at least once: the same one is kept once. */
function keepReceipt(agent: string, body: Buffer): number {
  const receipt = openReceipt(agent, body);
  if (receipt?.['agent'] !== agent) return 403;
  const line = JSON.stringify(receipt);
  const file = `${agent}.receipts.jsonl`;
  if (!readLines(file).includes(line)) append(file, line);
  return 204;
}

/** What an op's sender is answered: to whom it goes, and as which event. */
function keepOp(body: Buffer): { readonly agent: string; readonly event_id: string } | null {
  const envelope: Envelope = JSON.parse(body.toString());
  const { agent } = JSON.parse(Buffer.from(envelope.payload, 'base64').toString());
  if (typeof agent !== 'string' || !isAgent(agent)) return null;
  const text = JSON.stringify(envelope);
  const index = readLines(`${agent}.ops.jsonl`).length;
  append(`${agent}.ops.jsonl`, text);
  for (const stream of streams.get(agent) ?? []) stream.write(eventText(text, index));
  return { agent, event_id: String(index + 1) };
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const length = Number(request.headers['content-length'] ?? Number.NaN);
  if (!(length <= BODY_BYTES_MAX)) throw new Error('a body of unknown or excessive length');
  return await buffer(request);
}

async function serveAgent(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = /^\/v1\/agents\/([^/]+)\/(ops|receipts)$/;
  const [, agent = '', what] = path.exec(request.url ?? '') ?? [];
  if (!isAgent(agent)) response.writeHead(404).end();
  else if (request.method === 'GET' && what === 'ops') openStream(agent, request, response);
  else if (request.method === 'POST' && what === 'receipts') {
    response.writeHead(keepReceipt(agent, await readBody(request))).end();
  } else response.writeHead(405).end();
}

async function serveSender(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const kept = request.method === 'POST' ? keepOp(await readBody(request)) : null;
  response.writeHead(kept === null ? 404 : 202, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(kept ?? { error: 'no agent of that name is known' })}\n`);
}

const guarded =
  (serve: typeof serveAgent) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    serve(request, response).catch(() => response.writeHead(400).end());
  };

const [, host, port] = /^(.*):(\d+)$/.exec(values.listen) ?? [];
const tls = { cert: readFileSync(values.cert), key: readFileSync(values.key) };
const agents = createTlsServer(tls, guarded(serveAgent)).listen(Number(port), host, () => {
  console.error('listening', JSON.stringify(agents.address()));
});
rmSync(pathOf('hub.sock'), { force: true });
// Only this user may send: the agents would refuse what is not signed, but not the disk.
process.umask(0o077);
createServer(guarded(serveSender)).listen(pathOf('hub.sock'));
