/** A simulated node behind a plain TCP relay that counts what goes through, handshakes and all. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Simulator, SimulatorOptions } from '../simulator/start.ts';
import { startSimulator } from '../simulator/start.ts';

export interface CountedNode extends AsyncDisposable {
  readonly pve: Simulator;
  /** `https://127.0.0.1:PORT` of the relay. */
  readonly url: string;
  readonly port: number;
  /** Requests and bytes since the last call. */
  take(): Promise<Traffic>;
}

export interface Traffic {
  readonly requests: number;
  readonly bytes: number;
  /** Times the node's list of VMs was read. */
  readonly passes: number;
}

export async function startCountedNode(options: SimulatorOptions): Promise<CountedNode> {
  const pve = await startSimulator(options);
  const target = Number(new URL(pve.url).port);
  let bytes = 0;
  const relay = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', (chunk: Buffer) => (bytes += chunk.length));
      from.on('error', () => to.destroy());
      from.pipe(to);
    }
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  const bound = relay.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  return {
    pve,
    port,
    url: `https://127.0.0.1:${port}`,
    async take() {
      const log = await pve.requests();
      const list = `/nodes/${pve.node}/qemu`;
      const passes = log.filter(({ path, method }) => path === list && method === 'GET').length;
      const taken = { requests: log.length, bytes, passes };
      bytes = 0;
      await pve.resetRequests();
      return taken;
    },
    async [Symbol.asyncDispose]() {
      relay.close();
      await pve.stop();
    },
  };
}
