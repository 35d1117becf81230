/**
 * A network between two ends, as a TCP proxy: every piece of data that comes through is a step, in
 * the order of both directions, and may be let through, cut in the middle, or lost with its
 * connection. It waits for the verdict, so that whoever gives it can kill somebody meanwhile.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export type Verdict = 'pass' | 'half' | 'lost';

export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #target: () => number;
  /** Pieces that have come so far. */
  steps = 0;
  verdict: (step: number) => Verdict | Promise<Verdict> = () => 'pass';

  private constructor(target: () => number) {
    this.#target = target;
    this.#server = createServer((near) => {
      const far = connect({ host: '127.0.0.1', port: this.#target() });
      void this.#carry(near, far);
      void this.#carry(far, near);
    });
  }

  /** `target`: the port on the loopback behind it, asked for at each connection. */
  static async start(target: () => number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #carry(from: Socket, to: Socket): Promise<void> {
    this.#sockets.add(from);
    from.on('error', () => undefined).on('close', () => this.#sockets.delete(from));
    try {
      for await (const piece of from) {
        const verdict = await this.verdict(this.steps++);
        if (verdict === 'pass') to.write(piece);
        if (verdict === 'half') to.write(piece.subarray(0, Math.ceil(piece.length / 2)));
        if (verdict !== 'pass') break;
      }
    } catch {
      // A reset is an end like any other: the other side is told by the end of its connection.
    }
    to.destroySoon();
    from.destroySoon();
  }
}
