/** The simulator holds what the conformance suite asks of a node. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../simulator/start.ts';
import { going } from '../support/pve-client.ts';
import { connect } from './connect.ts';
import { type CheckResult, runSuite } from './suite.ts';

describe('the conformance suite against the simulator', () => {
  let pve: Simulator;

  beforeAll(async () => {
    pve = await startSimulator({
      speed: 10,
      world: {
        guests: [
          { vmid: 901, kind: 'qemu', running: true, config: { name: 'spare', memory: '512' } },
          { vmid: 902, kind: 'lxc', config: { hostname: 'spare-ct', memory: '512' } },
        ],
        auth_delay_ms: 50,
      },
    });
  });

  afterAll(async () => {
    await pve.stop();
  });

  const run = async (token: string, writeTo: number | null): Promise<readonly CheckResult[]> => {
    const tls = { kind: 'ca', ca: readFileSync(pve.caFile, 'utf8') } as const;
    const target = { url: pve.url, token: pve.token(token), tls, writeTo };
    const connection = await connect(target, going);
    try {
      return await runSuite(connection.context, () => undefined);
    } finally {
      await connection.close();
    }
  };

  it.each([
    ['a VM', 901],
    ['a container', 902],
  ])('every check holds with writes to %s', async (_, vmid) => {
    const results = await run('root', vmid);
    expect(results.filter((result) => result.kind !== 'held')).toEqual([]);
  });

  it('without a guest to write to, nothing is written', async () => {
    await pve.resetRequests();
    const results = await run('agent', null);
    expect(results.filter((result) => result.kind === 'failed')).toEqual([]);
    const requests = await pve.requests();
    expect(requests.length).toBeGreaterThan(10);
    expect(requests.filter((request) => request.method !== 'GET')).toEqual([]);
  });
});
