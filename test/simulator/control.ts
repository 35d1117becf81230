/** The control port: plain HTTP with JSON on 127.0.0.1, for whoever drives the simulation. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ZodError, z } from 'zod';
import { ACTIONS, ControlError, type Controlled } from './control-actions.ts';

export interface Control {
  readonly port: number;
  close(): Promise<void>;
}

export async function listenControl(world: Controlled): Promise<Control> {
  const server = createServer((request, response) => {
    void serve(world, request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return { port: (server.address() as AddressInfo).port, close: () => closeServer(server) };
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

async function serve(
  world: Controlled,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const [status, body] = await outcome(world, request);
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}

async function outcome(
  world: Controlled,
  request: IncomingMessage,
): Promise<readonly [number, unknown]> {
  const path = new URL(request.url ?? '/', 'http://control').pathname;
  const exact = ACTIONS[`${request.method} ${path}`];
  const cut = path.lastIndexOf('/') + 1;
  const found = exact ?? ACTIONS[`${request.method} ${path.slice(0, cut)}*`];
  if (found === undefined) return [404, { error: `no action ${request.method} ${path}` }];
  try {
    const body = await readJson(request);
    const argument = exact === undefined ? path.slice(cut) : '';
    const result = await found.run(world, body, argument);
    world.node.onChange();
    return [200, result];
  } catch (error) {
    if (error instanceof ZodError) return [400, { error: z.prettifyError(error) }];
    if (error instanceof ControlError) return [404, { error: error.message }];
    if (error instanceof SyntaxError) return [400, { error: error.message }];
    throw error;
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  return text === '' ? {} : JSON.parse(text);
}
