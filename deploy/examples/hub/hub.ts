/**
 * A hub to start from: it keeps signed ops for agents that cannot be reached, hands them out as
 * they call, and keeps the receipts they send. It holds no signing key and decides nothing: whoever
 * takes it over can delay and withhold ops, and not make one.
 *
 *   node hub.ts --listen 0.0.0.0:8443 --url https://hub.example:8443 --cert C --key K --data DIR
 *
 * --url is what agents call it (`hub.url`). DIR/AGENT.pub.pem is an agent's key (`keys show`): its
 * ops are handed to whoever has the other half. DIR/hub.sock takes ops:
 *   pve-reconciler sign start 101 --agent pve1 --key hub-1.key.pem |
 *     curl -sS --unix-socket DIR/hub.sock --data-binary @- http://hub/v1/ops
 */
import { verify } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { appendFileSync, existsSync, readFileSync, rmSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { parseArgs } from 'node:util';

/** The agent takes two of silence for a lost connection; clocks may be one apart. */
const MINUTE_MS = 60_000;
const BODY_BYTES_MAX = 256 * 1024;

const { values } = parseArgs({
  options: {
    listen: { type: 'string', default: '127.0.0.1:8443' },
    url: { type: 'string', default: 'https://127.0.0.1:8443' },
    cert: { type: 'string', default: 'hub.crt' },
    key: { type: 'string', default: 'hub.key' },
    data: { type: 'string', default: '.' },
  },
});
const arrivals = new EventEmitter().setMaxListeners(0);
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
function openStream(agent: string, request: IncomingMessage, response: ServerResponse): void {
  const after = Number(request.headers['last-event-id']) || 0;
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  const send = (envelope: string, index: number): void => {
    if (index >= after) response.write(`id: ${index + 1}\nevent: op\ndata: ${envelope}\n\n`);
  };
  response.write(':\n\n');
  readLines(`${agent}.ops.jsonl`).forEach(send);
  arrivals.on(agent, send);
  const keepalive = setInterval(() => response.write(':\n\n'), MINUTE_MS);
  response.on('close', () => {
    clearInterval(keepalive);
    arrivals.off(agent, send);
  });
}

/** What an envelope of this type says, if this agent has signed it. */
function openSigned(agent: string, type: RegExp, body: Buffer): Record<string, string> | null {
  const { payload, payloadType, signatures } = JSON.parse(body.toString());
  const bytes = Buffer.from(payload, 'base64');
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${bytes.length} `;
  const signature = Buffer.from(signatures[0].sig, 'base64');
  const signed = Buffer.concat([Buffer.from(head), bytes]);
  if (!verify(null, signed, readFileSync(pathOf(`${agent}.pub.pem`)), signature)) return null;
  const content = type.test(payloadType) ? JSON.parse(bytes.toString()) : null;
  return content?.agent === agent ? content : null;
}

/** Is it the agent that asks for its ops: by its signature, for this hub, of this minute? */
function isAskedBy(agent: string, { headers }: IncomingMessage): boolean {
  const [, proof] = /^DSSE (.+)$/.exec(headers.authorization ?? '') ?? [];
  if (proof === undefined) return false;
  const asked = openSigned(agent, /\.request\.v1\+json$/, Buffer.from(proof, 'base64'));
  const leftMs = Date.parse(asked?.['expires_at'] ?? '') - Date.now();
  return asked?.['hub'] === values.url && Math.abs(leftMs) <= 2 * MINUTE_MS;
}

/** Receipts come at least once: the same one is kept once. */
function keepReceipt(agent: string, body: Buffer): number {
  const receipt = openSigned(agent, /\.(receipt|refusal)\.v1\+json$/, body);
  if (receipt === null) return 403;
  const [file, line] = [`${agent}.receipts.jsonl`, JSON.stringify(receipt)];
  if (!readLines(file).includes(line)) append(file, line);
  return 204;
}

/** What an op's sender is answered: to whom it goes, and as which event. */
function keepOp(body: Buffer): { readonly agent: string; readonly event_id: string } | null {
  const envelope = JSON.parse(body.toString());
  const { agent } = JSON.parse(Buffer.from(envelope.payload, 'base64').toString());
  if (typeof agent !== 'string' || !isAgent(agent)) return null;
  const [file, line] = [`${agent}.ops.jsonl`, JSON.stringify(envelope)];
  const index = readLines(file).length;
  append(file, line);
  arrivals.emit(agent, line, index);
  return { agent, event_id: String(index + 1) };
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const length = Number(request.headers['content-length'] ?? Number.NaN);
  if (length <= BODY_BYTES_MAX) return await buffer(request);
  throw new Error('a body of unknown or excessive length');
}

async function serveAgent(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = /^(?:GET \/v1\/agents\/(.+)\/ops|POST \/v1\/agents\/(.+)\/receipts)$/;
  const [, asker, agent = asker ?? ''] = path.exec(`${request.method} ${request.url}`) ?? [];
  if (!isAgent(agent)) response.writeHead(404).end();
  else if (asker === undefined) {
    response.writeHead(keepReceipt(agent, await readBody(request))).end();
  } else if (isAskedBy(agent, request)) openStream(agent, request, response);
  else response.writeHead(401, { 'www-authenticate': 'DSSE' }).end();
}

async function serveSender(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const kept = request.method === 'POST' ? keepOp(await readBody(request)) : null;
  response.writeHead(kept === null ? 404 : 202, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(kept ?? { error: 'no agent of that name is known' })}\n`);
}

const guarded = (serve: typeof serveAgent): http.RequestListener => {
  return (request, response) => {
    serve(request, response).catch(() => response.headersSent || response.writeHead(400).end());
  };
};

const [, host, port] = /^(.*):(\d+)$/.exec(values.listen) ?? [];
const tls = { cert: readFileSync(values.cert), key: readFileSync(values.key) };
const agents = https.createServer(tls, guarded(serveAgent)).listen(Number(port), host, () => {
  console.error('listening', JSON.stringify(agents.address()));
});
rmSync(pathOf('hub.sock'), { force: true });
// Only this user may send: the agents would refuse what is not signed, but not the disk.
process.umask(0o077);
http.createServer(guarded(serveSender)).listen(pathOf('hub.sock'));
