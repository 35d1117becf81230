/** The one place where bytes of PVE are changed before they are parsed. */

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keepAliveAsServed } from '../../src/proxmox/keep-alive.ts';

const BOTH =
  'HTTP/1.1 200 OK\r\nConnection: close\r\nconnection: Keep-Alive\r\nContent-Length: 4\r\n\r\n';
const CLOSE = 'HTTP/1.1 500 no\r\nConnection: close\r\nContent-Length: 4\r\n\r\n';

let server: Server;
let socket: Socket;
let far: Socket;

/** A connection whose other end writes what a test says. */
beforeEach(async () => {
  server = createServer();
  const accepted = new Promise<Socket>((resolve) => {
    server.once('connection', resolve);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  socket = keepAliveAsServed(connect({ host: '127.0.0.1', port }));
  far = await accepted;
});

afterEach(async () => {
  socket.destroy();
  far.destroy();
  await new Promise((resolve) => server.close(resolve));
});

/** What a parser would read, given the writes of the other end one by one. */
async function readThrough(chunks: readonly string[]): Promise<string> {
  socket.write('GET / HTTP/1.1\r\n\r\n');
  let read = '';
  const expected = chunks.join('').length;
  const done = new Promise<void>((resolve) => {
    socket.on('readable', () => {
      for (let chunk: Buffer | null = socket.read(); chunk !== null; chunk = socket.read()) {
        read += chunk.toString('latin1');
      }
      if (read.length >= expected) resolve();
    });
  });
  for (const chunk of chunks) {
    await new Promise((resolve) => far.write(chunk, resolve));
  }
  await done;
  return read;
}

describe('keep-alive as PVE serves it', () => {
  it('where a head says both, `close` is not said to the parser', async () => {
    const read = await readThrough([`${BOTH}body`]);
    expect(read).not.toMatch(/^connection: close/im);
    expect(read).toMatch(/^connection: keep-alive/im);
    expect(read).toHaveLength(BOTH.length + 4);
  });

  it('a head that comes byte by byte is treated the same', async () => {
    const read = await readThrough(`${BOTH}body`.split(''));
    expect(read).not.toMatch(/^connection: close/im);
    expect(read.endsWith('\r\n\r\nbody')).toBe(true);
  });

  it('a head that says only `close` is left as it is', async () => {
    expect(await readThrough([`${CLOSE}body`])).toBe(`${CLOSE}body`);
  });

  it('a body is left as it is, whatever it says', async () => {
    const plain = 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n';
    expect(await readThrough([plain, BOTH])).toBe(plain + BOTH);
  });

  it('what never ends its head is passed on', async () => {
    const endless = 'x'.repeat(40_000);
    expect(await readThrough([endless])).toBe(endless);
  });
});
