/** The example hub as a process of its own, with a folder for its data. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, watch, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { createAuthority } from '../../simulator/certificates.ts';

const PROGRAM = new URL('../../../deploy/examples/hub/hub.ts', import.meta.url).pathname;
const authority = createAuthority();
const leaf = authority.issue('hub');

export class ExampleHub {
  readonly #data: string;
  readonly #port: number;
  readonly url: string;
  /** PEM, for `hub.ca_file`. */
  readonly ca = authority.certificatePem;
  #process: ChildProcess | null = null;

  private constructor(data: string, port: number, url: string) {
    this.#data = data;
    this.#port = port;
    this.url = url;
  }

  /** `url`: what agents call it, where that is not its own address. */
  static async start(data: string, url?: string): Promise<ExampleHub> {
    mkdirSync(data);
    writeFileSync(join(data, 'hub.crt'), leaf.certificatePem);
    writeFileSync(join(data, 'hub.key'), leaf.keyPem, { mode: 0o600 });
    const port = await freePort();
    const hub = new ExampleHub(data, port, url ?? `https://127.0.0.1:${port}`);
    await hub.begin();
    return hub;
  }

  get port(): number {
    return this.#port;
  }

  async begin(): Promise<void> {
    const [cert, key] = [join(this.#data, 'hub.crt'), join(this.#data, 'hub.key')];
    const address = ['--listen', `127.0.0.1:${this.#port}`, '--url', this.url];
    const args = [PROGRAM, ...address, '--cert', cert, '--key', key, '--data', this.#data];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#process = child;
    for await (const line of createInterface({ input: child.stderr })) {
      if (line.startsWith('listening')) return;
    }
    throw new Error('the hub has ended');
  }

  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  admit(agent: string, publicKeyPem: string): void {
    writeFileSync(join(this.#data, `${agent}.pub.pem`), publicKeyPem);
  }

  /** Resolves with the status it answered. */
  async send(body: Buffer): Promise<number> {
    const sending = request({
      socketPath: join(this.#data, 'hub.sock'),
      path: '/v1/ops',
      method: 'POST',
      headers: { 'content-length': body.length },
    });
    const answered = new Promise<number>((resolve, reject) => {
      sending.on('error', reject).on('response', (response) => {
        void text(response).then(() => resolve(response.statusCode ?? 0));
      });
    });
    sending.end(body);
    return await answered;
  }

  /** What `pve1` has told it, in the order in which it was kept. */
  receipts(): readonly Readonly<Record<string, unknown>>[] {
    try {
      const lines = readFileSync(join(this.#data, 'pve1.receipts.jsonl'), 'utf8').split('\n');
      return lines.filter((line) => line !== '').map((line) => JSON.parse(line));
    } catch {
      return [];
    }
  }

  /** Resolves when a receipt is as asked for. */
  async received(
    isIt: (receipt: Readonly<Record<string, unknown>>) => boolean,
  ): Promise<Readonly<Record<string, unknown>>> {
    const watcher = watch(this.#data);
    try {
      for (;;) {
        const changed = new Promise((resolve) => watcher.once('change', resolve));
        const found = this.receipts().find(isIt);
        if (found !== undefined) return found;
        await changed;
      }
    } finally {
      watcher.close();
    }
  }
}

/** A port of the loopback that nobody listens on at this moment. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
