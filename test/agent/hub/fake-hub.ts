/**
 * A hub over HTTPS that keeps what it was given, and misbehaves as told: at any step of delivery
 * or receipt it may cut the connection or die, and come back on the same port with what it had
 * stored. It shares nothing with src.
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { type CertificateAuthority, createAuthority } from '../../simulator/certificates.ts';

/** Where the hub may be struck; each time one is passed counts as a step. */
export type HubStep =
  | 'stream asked for'
  | 'stream open'
  | 'event half written'
  | 'event written'
  | 'receipt begun'
  | 'receipt read'
  | 'receipt stored';

export type Strike = 'cut' | 'die' | null;

export interface Receipt {
  readonly payloadType: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

interface StoredEvent {
  readonly id: string;
  readonly data: string;
}

/** How often it shows a sign of life; the agent's clock runs a thousand times as fast. */
const KEEPALIVE_MS = 10;

export class FakeHub {
  readonly #authority: CertificateAuthority = createAuthority();
  readonly #agentKey: KeyObject;
  readonly #events: StoredEvent[] = [];
  readonly #streams = new Set<ServerResponse>();
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #port = 0;
  #changed = Promise.withResolvers<void>();
  /** In the order they were stored. */
  readonly receipts: Receipt[] = [];
  /** `Last-Event-ID` of each request for the stream. */
  readonly cursors: (string | null)[] = [];
  readonly steps: HubStep[] = [];
  /** What each request for the stream has proved. */
  readonly askers: Readonly<Record<string, unknown>>[] = [];
  strike: (step: HubStep, index: number) => Strike = () => null;
  /** Answers instead of the hub; true: it did. */
  intercept: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;
  isSilent = false;

  constructor(agentKeyPem: string) {
    this.#agentKey = createPublicKey(agentKeyPem);
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}/hub`;
  }

  get ca(): string {
    return this.#authority.certificatePem;
  }

  async start(): Promise<void> {
    const { certificatePem: cert, keyPem: key } = this.#authority.issue('hub');
    const server = createServer({ cert, key }, (request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
    });
    server.on('tlsClientError', () => undefined);
    const { promise, resolve } = Promise.withResolvers<void>();
    server.listen(this.#port, '127.0.0.1', resolve);
    await promise;
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    this.#streams.clear();
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => {
      if (server === null) resolve();
      else server.close(() => resolve());
    });
  }

  /** Stores an op for the agent and sends it where a stream is open. */
  send(data: string, id = String(this.#events.length + 1)): void {
    const event = { id, data };
    this.#events.push(event);
    for (const stream of this.#streams) this.#write(stream, event);
  }

  /** Raw bytes on every open stream. */
  sendRaw(text: string): void {
    for (const stream of this.#streams) stream.write(text);
  }

  cutStreams(): void {
    for (const stream of this.#streams) stream.destroy();
  }

  /** Resolves when it holds; asked again whenever the hub has seen something. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await this.#changed.promise;
  }

  note(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.intercept(request, response)) return this.note();
    const path = request.url ?? '';
    if (path === '/hub/v1/agents/pve1/ops') this.#open(request, response);
    else if (path === '/hub/v1/agents/pve1/receipts') await this.#receive(request, response);
    else response.writeHead(404).end();
    this.note();
  }

  #open(request: IncomingMessage, response: ServerResponse): void {
    const [, proof = ''] = /^DSSE (.+)$/.exec(request.headers.authorization ?? '') ?? [];
    this.askers.push(this.#openSigned(Buffer.from(proof, 'base64')).payload);
    const cursor = request.headers['last-event-id'];
    this.cursors.push(typeof cursor === 'string' ? cursor : null);
    if (this.#isStruck('stream asked for', response)) return;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(': welcome\n\n');
    this.#streams.add(response);
    const keepalive = setInterval(() => this.isSilent || response.write(':\n\n'), KEEPALIVE_MS);
    response.on('close', () => {
      clearInterval(keepalive);
      this.#streams.delete(response);
      this.note();
    });
    if (this.#isStruck('stream open', response)) return;
    const index = this.#events.findIndex(({ id }) => id === cursor);
    for (const event of this.#events.slice(index + 1)) this.#write(response, event);
  }

  #write(response: ServerResponse, { id, data }: StoredEvent): void {
    if (response.destroyed) return;
    const text = `id: ${id}\nevent: op\ndata: ${data}\n\n`;
    const half = Math.floor(text.length / 2);
    response.write(text.slice(0, half));
    if (this.#isStruck('event half written', response)) return;
    response.write(text.slice(half));
    this.#isStruck('event written', response);
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#isStruck('receipt begun', response)) return;
    const body = await buffer(request);
    if (this.#isStruck('receipt read', response)) return;
    this.receipts.push(this.#openSigned(body));
    if (this.#isStruck('receipt stored', response)) return;
    response.writeHead(204).end();
  }

  /** Throws where it is not signed with the agent's key. */
  #openSigned(body: Buffer): Receipt {
    const { payload, payloadType, signatures } = JSON.parse(body.toString());
    const bytes = Buffer.from(payload, 'base64');
    const head = Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${bytes.length} `);
    const signature = Buffer.from(signatures[0].sig, 'base64');
    if (!verify(null, Buffer.concat([head, bytes]), this.#agentKey, signature)) {
      throw new Error('the agent has not signed it');
    }
    return { payloadType, payload: JSON.parse(bytes.toString()) };
  }

  #isStruck(step: HubStep, response: ServerResponse): boolean {
    this.steps.push(step);
    const strike = this.strike(step, this.steps.length - 1);
    if (strike === null) return false;
    if (strike === 'cut') response.destroy();
    else void this.stop().then(() => this.start());
    return true;
  }
}
