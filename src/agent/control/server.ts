/**
 * The agent's API (CONTRACT 8): the unix socket, and where configured `control.listen` and
 * `control.public`. Begun after recovery, ended before the engine.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { ListenAddress } from '../config/config-schema.ts';
import { addPageRoutes } from '../page/route.ts';
import { createApp } from './app.ts';
import { addEnvelopeRoute } from './envelope-route.ts';
import {
  createEventStreams,
  EVENT_TYPES,
  type EventStreams,
  type EventType,
} from './event-stream.ts';
import { createGuestFeed } from './guest-feed.ts';
import { createRoutes } from './handlers.ts';
import { listenOnSocket, listenOnTcp } from './listening.ts';
import { openApiDocument } from './openapi.ts';
import { createPassRunner } from './pass-runner.ts';
import type { ControlPorts } from './ports.ts';
import { createReadingTurns, type ReadingTurns } from './reading-turns.ts';
import type { Listener } from './route.ts';

/** Answers under way are finished within this; what is left is cut off. */
const CLOSE_GRACE_MS = 1_000;

export interface ControlAddresses {
  readonly socket: string;
  readonly listen: ListenAddress | null;
  readonly public: ListenAddress | null;
}

export interface ControlServer {
  /** As bound; null where not configured. */
  readonly ports: { readonly listen: number | null; readonly public: number | null };
  /** Takes no more, lets answers end, and is gone within a second. */
  close(): Promise<void>;
}

/** Throws `config_invalid` where an address cannot be had; then nothing listens. */
export async function startControlServer(
  ports: ControlPorts,
  addresses: ControlAddresses,
): Promise<ControlServer> {
  const feed = await createGuestFeed(ports);
  const passes = createPassRunner(ports);
  const allStreams: EventStreams[] = [];
  const apps: FastifyInstance[] = [];
  const make = async (listener: Listener): Promise<FastifyInstance> => {
    // Of its own: whoever fills one listener leaves the others their room.
    const turns = createReadingTurns();
    const streams = createEventStreams({ ports, feed, passes, turns });
    allStreams.push(streams);
    const app = createApp(listener, createRoutes({ ports, feed, passes, turns, listener }), ports);
    addOtherRoutes(app, listener, { ports, streams, turns });
    await app.ready();
    apps.push(app);
    return app;
  };
  const close = async (): Promise<void> => {
    for (const streams of allStreams) streams.close();
    await Promise.all(apps.map(closeApp));
    feed.close();
    passes.close();
  };
  const listenOn = async (
    listener: Listener,
    address: ListenAddress | null,
  ): Promise<number | null> =>
    address === null ? null : listenOnTcp((await make(listener)).server, address);
  try {
    await listenOnSocket((await make('socket')).server, addresses.socket);
    const bound = {
      listen: await listenOn('listen', addresses.listen),
      public: await listenOn('public', addresses.public),
    };
    return { ports: bound, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Routes that do not speak JSON both ways. */
function addOtherRoutes(
  app: FastifyInstance,
  listener: Listener,
  {
    ports,
    streams,
    turns,
  }: {
    readonly ports: ControlPorts;
    readonly streams: EventStreams;
    readonly turns: ReadingTurns;
  },
): void {
  app.get('/metrics', async (_request, reply) => {
    const { type, text } = await ports.metrics();
    return reply.type(type).send(text);
  });
  addEnvelopeRoute(app, ports, turns);
  if (listener === 'public') return;
  addPageRoutes(app);
  const openApi = openApiDocument(ports.version);
  app.get('/v1/openapi.json', () => openApi);
  // A stream has no end: one without a body would hold its place for nothing.
  app.get('/v1/events', { exposeHeadRoute: false }, (request, reply) => {
    const types = readTypes(request);
    const lastSeq = readLastSeq(request);
    if (streams.isFull) {
      reply.header('retry-after', '10');
      throw new ReconcilerError('service_unavailable', 'too many event streams are open', {
        hint: 'close pages and commands that follow the agent, or ask again later',
      });
    }
    reply.hijack();
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) reply.raw.setHeader(name, value);
    }
    streams.open({ response: reply.raw, types, lastSeq });
  });
}

function readTypes(request: FastifyRequest): ReadonlySet<EventType> {
  const query = new URL(request.url, 'http://agent').searchParams.get('types');
  if (query === null || query === '') return new Set(EVENT_TYPES);
  const named = query.split(',');
  const types = EVENT_TYPES.filter((type) => named.includes(type));
  if (types.length === new Set(named).size) return new Set(types);
  const message = `types: expected some of ${EVENT_TYPES.join(', ')}`;
  throw new ReconcilerError('invalid_request', message);
}

function readLastSeq({ headers }: FastifyRequest): number | null {
  const id = headers['last-event-id'];
  if (id === undefined || id === '') return null;
  if (typeof id === 'string' && /^\d{1,15}$/.test(id)) return Number(id);
  throw new ReconcilerError('invalid_request', 'Last-Event-ID: expected the seq of a record');
}

async function closeApp(app: FastifyInstance): Promise<void> {
  const { server } = app;
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
  server.closeIdleConnections();
  await app.close();
  clearTimeout(timer);
}
