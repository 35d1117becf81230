/** The network of a chaos run does what it is told to connections that are there and that come. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ChaosProxy } from './proxy.ts';

let proxy: ChaosProxy;
let closeNode: () => Promise<void>;
let heard: string;
const clients = new Set<Socket>();

beforeEach(async () => {
  heard = '';
  const open = new Set<Socket>();
  const node = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('data', (bytes) => {
      heard += bytes.toString();
      socket.write(`answer to ${bytes.toString()}`);
    });
  });
  node.listen(0, '127.0.0.1');
  await once(node, 'listening');
  closeNode = async () => {
    for (const socket of open) socket.destroy();
    node.close();
    await once(node, 'close');
  };
  proxy = await ChaosProxy.start((node.address() as AddressInfo).port);
});

afterEach(async () => {
  for (const client of clients) client.destroy();
  clients.clear();
  await proxy.close();
  await closeNode();
});

async function dial(): Promise<Socket> {
  const client = connect(proxy.port, '127.0.0.1');
  clients.add(client);
  client.on('error', () => client.destroy());
  await once(client, 'connect');
  return client;
}

/** The answer, or that the connection has ended. */
async function ask(client: Socket, text: string): Promise<string> {
  const answer = new Promise<string>((resolve) => {
    client.once('data', (bytes: Buffer) => resolve(String(bytes)));
  });
  const closed = whenClosed(client).then(() => 'closed');
  client.write(text);
  return Promise.race([answer, closed]);
}

/** In order or by a reset. */
function whenClosed(client: Socket): Promise<void> {
  return new Promise((resolve) => {
    client.once('close', () => resolve());
  });
}

test('what is sent arrives, and so does the answer', async () => {
  expect(await ask(await dial(), 'a')).toBe('answer to a');
});

test('cut before the request, the node hears nothing', async () => {
  const client = await dial();
  proxy.cut('request');
  expect(await ask(client, 'a')).toBe('closed');
  expect(heard).toBe('');
  expect(proxy.cuts).toBe(1);
});

test('cut before the answer, the node has heard it', async () => {
  const client = await dial();
  proxy.cut('answer');
  expect(await ask(client, 'a')).toBe('closed');
  expect(heard).toBe('a');
});

test('down, it refuses who comes and cuts who is there', async () => {
  const client = await dial();
  await ask(client, 'a');
  const closed = whenClosed(client);
  proxy.goDown('refuse');
  await closed;
  const late = connect(proxy.port, '127.0.0.1');
  late.on('error', () => late.destroy());
  await whenClosed(late);
  proxy.heal();
  expect(await ask(await dial(), 'c')).toBe('answer to c');
  expect(heard).toBe('ac');
});

test('what it has swallowed never arrives', async () => {
  const client = await dial();
  expect(await ask(client, 'a')).toBe('answer to a');
  const swallowed = proxy.whenSwallowed();
  proxy.goDown('swallow');
  const answer = ask(client, 'b');
  await swallowed;
  proxy.comeUp();
  expect(await answer).toBe('closed');
  expect(heard).toBe('a');
});

test('slow, it keeps the order, and the end comes last', async () => {
  const client = await dial();
  proxy.slowDown(5);
  client.write('a');
  client.end('b');
  const texts: string[] = [];
  client.on('data', (bytes: Buffer) => texts.push(String(bytes)));
  await whenClosed(client);
  expect(heard).toBe('ab');
  expect(texts.join('')).toContain('answer to a');
});
