/** Who is believed to be the node. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Reply } from '../../src/proxmox/client.ts';
import { readRequest, writeRequest } from '../../src/proxmox/request.ts';
import type { TlsTrust } from '../../src/proxmox/trust.ts';
import { type Simulator, startSimulator } from '../simulator/start.ts';
import { clientFor, going } from '../support/pve-client.ts';

let pve: Simulator;
let other: Simulator;

beforeAll(async () => {
  [pve, other] = await Promise.all([startSimulator(), startSimulator()]);
});

afterAll(async () => {
  await Promise.all([pve.stop(), other.stop()]);
});

function caOf(simulator: Simulator): string {
  return readFileSync(simulator.caFile, 'utf8');
}

async function ask(tls: TlsTrust, url = pve.url): Promise<Reply> {
  const client = clientFor(pve, 'root', { tls, url });
  const reply = await client.request(writeRequest('POST', '/nodes/pve1/startall', {}, {}), going);
  await client.close();
  return reply;
}

describe('trust', () => {
  it('the right CA and the right fingerprint are trusted', async () => {
    expect((await ask({ kind: 'ca', ca: caOf(pve) })).kind).toBe('answer');
    expect((await ask({ kind: 'fingerprint', fingerprint: pve.fingerprint })).kind).toBe('answer');
    const bare = pve.fingerprint.replaceAll(':', '').toLowerCase();
    expect((await ask({ kind: 'fingerprint', fingerprint: bare })).kind).toBe('answer');
  });

  it.each<[string, () => TlsTrust, RegExp]>([
    ['another CA', () => ({ kind: 'ca', ca: caOf(other) }), /certificate|signature/],
    ['the CAs of the system', () => ({ kind: 'system' }), /certificate/],
    [
      "another node's fingerprint",
      () => ({ kind: 'fingerprint', fingerprint: other.fingerprint }),
      /not the pinned/,
    ],
    [
      'a name the certificate does not have',
      () => ({ kind: 'ca', ca: caOf(pve), serverName: 'pve9.example' }),
      /pve9\.example/,
    ],
  ])('%s is not, and nothing is sent', async (_, trust, said) => {
    await pve.resetRequests();
    const reply = await ask(trust());
    expect(reply).toMatchObject({
      kind: 'failure',
      effect: 'none',
      problem: { code: 'tls_untrusted' },
    });
    if (reply.kind === 'failure') expect(reply.problem.message).toMatch(said);
    expect(await pve.requests()).toEqual([]);
  });

  it('the environment variable that turns verification off in Node does not here', async () => {
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    const reply = await ask({ kind: 'ca', ca: caOf(other) });
    delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    expect(reply).toMatchObject({ effect: 'none', problem: { code: 'tls_untrusted' } });
  });

  it('a name the certificate has takes the place of the host', async () => {
    expect((await ask({ kind: 'ca', ca: caOf(pve), serverName: 'pve1' })).kind).toBe('answer');
  });

  it('a certificate that changes between requests is checked anew', async () => {
    const changing = await startSimulator();
    const pinned = clientFor(changing, 'root', {
      tls: { kind: 'fingerprint', fingerprint: changing.fingerprint },
    });
    const byCa = clientFor(changing, 'root');
    const version = readRequest('/version');
    expect((await pinned.request(version, going)).kind).toBe('answer');
    expect((await byCa.request(version, going)).kind).toBe('answer');
    await changing.control('POST', '/certificate');
    await changing.control('DELETE', '/connections');
    expect(await pinned.request(version, going)).toMatchObject({
      kind: 'failure',
      problem: { code: 'tls_untrusted' },
    });
    expect((await byCa.request(version, going)).kind).toBe('answer');
    await Promise.all([pinned.close(), byCa.close(), changing.stop()]);
  });

  it('a server without TLS is not talked to', async () => {
    let received = 0;
    const server = createServer(() => {
      received += 1;
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const reply = await ask({ kind: 'ca', ca: caOf(pve) }, `https://127.0.0.1:${port}`);
    expect(reply).toMatchObject({ effect: 'none', problem: { code: 'service_unavailable' } });
    expect(received).toBe(0);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it.each<[string, TlsTrust]>([
    ['a fingerprint of SHA-1', { kind: 'fingerprint', fingerprint: 'AA:'.repeat(19).concat('AA') }],
    ['a fingerprint that is none', { kind: 'fingerprint', fingerprint: 'off' }],
    ['a CA file without a certificate', { kind: 'ca', ca: 'nothing' }],
    [
      'a CA file with a broken one',
      { kind: 'ca', ca: '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----' },
    ],
  ])('%s is refused before anything is asked', (_, tls) => {
    expect(() => clientFor(pve, 'root', { tls })).toThrow(/^config_invalid/);
  });

  it.each(['http://127.0.0.1:8006', 'https://user:pw@127.0.0.1', 'https://127.0.0.1/api2', 'pve1'])(
    'the URL %s is refused, and not repeated',
    (url) => {
      expect(() => clientFor(pve, 'root', { url })).toThrow(/^config_invalid: proxmox\.url/);
      expect(() => clientFor(pve, 'root', { url })).not.toThrow(/pw/);
    },
  );
});
