/**
 * The network between agent and node: a TCP proxy that can be cut, slowed and made to swallow what
 * comes. It sees TLS records and nothing in them.
 */

import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export type CutMoment = 'at_once' | 'request' | 'answer';

interface Pair {
  readonly client: Socket;
  readonly node: Socket;
}

export class ChaosProxy {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #state: 'up' | 'refuse' | 'swallow' = 'up';
  #delayMs = 0;
  /** The next bytes of that direction end their connection: before they are passed on. */
  #cutNext: 'request' | 'answer' | null = null;
  #swallowed = Promise.withResolvers<void>();
  /** Counts cuts of connections that were there. */
  cuts = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(nodePort: number): Promise<ChaosProxy> {
    const server = createServer({ allowHalfOpen: true }, (client) => proxy.#take(client, nodePort));
    const proxy = new ChaosProxy(server);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #take(client: Socket, nodePort: number): void {
    client.on('error', () => client.destroy());
    if (this.#state === 'refuse') {
      client.resetAndDestroy();
      return;
    }
    const node = connect({ port: nodePort, host: '127.0.0.1', allowHalfOpen: true });
    const pair = { client, node };
    this.#pairs.add(pair);
    node.on('error', () => client.destroy());
    client.on('close', () => this.#pairs.delete(pair));
    this.#pass(pair, 'request');
    this.#pass(pair, 'answer');
  }

  /** In order, each chunk and the end as late as it is slow. */
  #pass(pair: Pair, direction: 'request' | 'answer'): void {
    const [from, to] =
      direction === 'request' ? [pair.client, pair.node] : [pair.node, pair.client];
    let passed = Promise.resolve();
    const later = (act: () => void): void => {
      const waitMs = this.#delayMs;
      passed = actAfter(passed, waitMs, act);
    };
    from.on('data', (chunk) => {
      if (this.#state === 'swallow') {
        this.#swallowed.resolve();
        return;
      }
      if (this.#cutNext === direction) {
        this.#cutNext = null;
        this.#cut(pair);
        return;
      }
      later(() => to.write(chunk));
    });
    from.on('end', () => later(() => to.end()));
  }

  #cut({ client, node }: Pair): void {
    this.cuts += 1;
    client.resetAndDestroy();
    node.destroy();
  }

  cut(moment: CutMoment): void {
    if (moment !== 'at_once') {
      this.#cutNext = moment;
      return;
    }
    for (const pair of this.#pairs) this.#cut(pair);
  }

  slowDown(delayMs: number): void {
    this.#delayMs = delayMs;
  }

  /** Whoever is connected is cut, or hears nothing any more. */
  goDown(how: 'refuse' | 'swallow'): void {
    this.#state = how;
    if (how === 'refuse') this.cut('at_once');
  }

  /** Resolves when something has been. */
  whenSwallowed(): Promise<void> {
    return this.#swallowed.promise;
  }

  /** What was swallowed in part is of no use any more. */
  comeUp(): void {
    const wasSwallowing = this.#state === 'swallow';
    this.#state = 'up';
    if (wasSwallowing) this.cut('at_once');
  }

  heal(): void {
    this.#cutNext = null;
    this.#delayMs = 0;
    this.comeUp();
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const { client, node } of this.#pairs) {
      client.destroy();
      node.destroy();
    }
    await closed;
  }
}

async function actAfter(before: Promise<void>, waitMs: number, act: () => void): Promise<void> {
  await before;
  if (waitMs > 0) await delay(waitMs);
  act();
}
