/**
 * The habits of pveproxy that no HTTP library would show (PVE-FACTS 2, 4, 5; transcript
 * http_limits).
 */
import { connect as connectPlain } from 'node:net';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAuthority } from './certificates.ts';
import { type Answer, listenWire, type Wire } from './wire.ts';

const authority = createAuthority();
/** Long enough for a TLS handshake on a busy machine. */
const IDLE_MS = 400;
let wire: Wire;
let wide: Wire;

const answer = (status: number, isProxied: boolean): Answer => {
  const body = Buffer.from('{}');
  return {
    kind: 'answer',
    status,
    reason: 'As told',
    contentType: 'application/json',
    body,
    isProxied,
  };
};

/** `/400` answers 400, `/proxied` as if pvedaemon had. */
const handle = async ({ target }: { target: string }): Promise<Answer> =>
  answer(Number(/\d{3}/.exec(target)?.[0] ?? 200), target.includes('proxied'));

beforeAll(async () => {
  const options = { port: 0, leaf: authority.issue('pve1'), handle, nowMs: () => 0 };
  wire = await listenWire(options);
  wide = await listenWire({ ...options, idleMs: IDLE_MS });
});

afterAll(async () => {
  await Promise.all([wire.close(), wide.close()]);
});

/** Sends text and resolves with everything that came before the server closed. */
function converse(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', ca: authority.certificatePem });
    let heard = '';
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString('latin1');
    });
    socket.once('close', () => resolve(heard));
    socket.once('error', reject);
    socket.write(text);
  });
}

const get = (target: string, headers: readonly string[] = []): string =>
  `${[`GET ${target} HTTP/1.1`, 'Host: x', ...headers].join('\r\n')}\r\n\r\n`;

describe('the wire', () => {
  it('answers 100 requests on one connection and closes it with the last', async () => {
    const heard = await converse(wire.port, get('/').repeat(101));
    expect(heard.match(/HTTP\/1\.1 200 As told/g)?.length).toBe(100);
    expect(heard.match(/^Connection: Keep-Alive/gm)?.length).toBe(99);
    expect(heard.match(/^Connection: close/gm)?.length).toBe(1);
  });

  it('closes an idle connection', async () => {
    expect(await converse(wide.port, get('/'))).toContain('Connection: Keep-Alive');
  });

  it('closes after every answer from 400 on', async () => {
    const heard = await converse(wire.port, get('/400') + get('/'));
    expect(heard.match(/HTTP\/1\.1 /g)?.length).toBe(1);
    expect(heard).toContain('Connection: close');
  });

  it('sends both Connection headers on what pvedaemon answered, and stays open', async () => {
    const heard = await converse(wire.port, get('/proxied') + get('/400'));
    expect(heard).toMatch(/^Connection: close\r\nConnection: Keep-Alive\r\n/m);
    expect(heard.match(/HTTP\/1\.1 /g)?.length).toBe(2);
  });

  it.each([
    ['64 header lines are read', 63, 10, 'HTTP/1.1 200'],
    ['65 header lines end the connection without an answer', 64, 10, ''],
    ['8 KiB of headers end the connection without an answer', 4, 2500, ''],
  ])('%s', async (_, count, length, start) => {
    const lines = Array.from({ length: count }, (__, index) => `X-${index}: ${'y'.repeat(length)}`);
    const heard = await converse(wire.port, get('/', lines) + get('/400'));
    expect(heard.slice(0, start === '' ? undefined : start.length)).toBe(start);
  });

  it('sends plain HTTP to https', async () => {
    const heard = await new Promise<string>((resolve, reject) => {
      const socket = connectPlain(wire.port, '127.0.0.1');
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
      });
      socket.once('close', () => resolve(text));
      socket.once('error', reject);
      socket.write(get('/api2/json/version'));
    });
    expect(heard).toMatch(/^HTTP\/1\.1 301 Moved Permanently\r\n/);
    expect(heard).toContain(`Location: https://127.0.0.1:${wire.port}/api2/json/version`);
  });

  it('is not trusted by who trusts another authority', async () => {
    const stranger = createAuthority();
    const attempt = new Promise((resolve, reject) => {
      const socket = connect({ port: wire.port, host: '127.0.0.1', ca: stranger.certificatePem });
      socket.once('secureConnect', resolve);
      socket.once('error', reject);
    });
    await expect(attempt).rejects.toThrow(/certificate/);
  });

  it('takes another leaf for connections to come', async () => {
    const leaf = authority.issue('pve1');
    wide.useLeaf(leaf);
    const seen = await new Promise<string>((resolve, reject) => {
      const socket = connect({ port: wide.port, host: '127.0.0.1', ca: authority.certificatePem });
      socket.once('secureConnect', () => {
        resolve(socket.getPeerCertificate().fingerprint256);
        socket.destroy();
      });
      socket.once('error', reject);
    });
    expect(seen).toBe(leaf.fingerprint);
  });
});
