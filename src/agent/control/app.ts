/**
 * One listener's HTTP: the routes it may serve, what it refuses, and failures as problem
 * documents. All three listeners are this, with different routes.
 */
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { ReconcilerError } from '../../reconcile/errors.ts';
import { makeCorrelationId } from '../../reconcile/ids.ts';
import { isCrossSite, isLoopbackHost, PAGE_HEADERS } from './browser-guard.ts';
import { answerNoRequest, boundConnections, CHECK_INTERVAL_MS } from './connections.ts';
import type { ControlPorts } from './ports.ts';
import { PROBLEM_TYPE, problemOf, problemOfError, statusOf } from './problem.ts';
import type { Listener } from './route.ts';
import type { ServedRoute } from './served-route.ts';

/** An envelope with a large set_config and several signatures, some times over. */
const BODY_BYTES_MAX = 256 * 1024;
/** A request arrives within this, or its sender is cut off: nobody is held up by a slow one. */
const REQUEST_TIMEOUT_MS = 8_000;
const KEEP_ALIVE_MS = 30_000;
/** Far more than pages, scrapers and hubs keep open; beyond it who is waited for gives way. */
const CONNECTIONS_MAX = 512;
/** An answer that nobody reads on is given up; idle connections have `KEEP_ALIVE_MS`. */
const STILL_MS = 30_000;

/** Where a request is wrong: what there is, for whoever writes the one who asks. */
const ROUTES_HINT = 'GET /v1/openapi.json has the routes and what each takes';
const HINTS: Readonly<Record<Listener, string>> = {
  socket: ROUTES_HINT,
  listen: ROUTES_HINT,
  public:
    'here are /metrics, /healthz, /readyz and POST /v1/ops; all else is on the other listeners',
};

type AppPorts = Pick<ControlPorts, 'random' | 'reportError'>;

export function createApp(
  listener: Listener,
  routes: readonly ServedRoute[],
  ports: AppPorts,
): FastifyInstance {
  const hint = HINTS[listener];
  const makeId = (): string => makeCorrelationId(ports.random);
  const app = Fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    genReqId: makeId,
    routerOptions: { maxParamLength: 255 },
    logger: false,
    clientErrorHandler: (error, socket) => answerNoRequest(error, socket, makeId()),
    // A path that cannot be decoded: no hook and no error handler sees it.
    frameworkErrors(error, request, reply) {
      if (begin(listener, request, reply) === undefined) sendError(error, request, reply, hint);
    },
    http: { connectionsCheckingInterval: CHECK_INTERVAL_MS },
    // Requests are parsed by their route's zod schemas: ajv, once loaded, is 5 MiB.
    schemaController: { compilersFactory: { buildValidator: refuse, buildSerializer: refuse } },
    return503OnClosing: true,
  });
  boundConnections(app.server, { max: CONNECTIONS_MAX, stillMs: STILL_MS });
  app.server.headersTimeout = REQUEST_TIMEOUT_MS;
  app.addHook('onRequest', async (request, reply) => begin(listener, request, reply));
  app.setErrorHandler((error, request, reply) => {
    if (!(error instanceof ReconcilerError) && httpStatusOf(error) >= 500) {
      ports.reportError(error, request.id);
    }
    return sendError(error, request, reply, hint);
  });
  app.setNotFoundHandler((request, reply) => {
    const [path = ''] = request.url.split('?', 1);
    const message = `there is no ${request.method} ${path} here`;
    return sendProblem(problemOf({ code: 'not_found', message, hint }, ids(request)), reply);
  });
  for (const route of routes) addRoute(app, listener, route);
  return app;
}

/** A reply: it is refused already. */
function begin(
  listener: Listener,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply | undefined {
  reply.header('x-request-id', request.id).header('cache-control', 'no-store');
  return listener === 'listen' ? guardBrowser(request, reply) : undefined;
}

function refuse(): never {
  throw new Error('routes have no schemas for Fastify');
}

function addRoute(app: FastifyInstance, listener: Listener, { route, answer }: ServedRoute): void {
  const isHere = route.listeners.includes(listener);
  // On `listen` people find out why; `public` does not say what there is elsewhere.
  if (!isHere && listener === 'public') return;
  app.route({
    method: route.method,
    url: route.path.replaceAll(/\{(\w+)\}/g, ':$1'),
    handler: async (request, reply) => {
      if (!isHere) {
        throw new ReconcilerError('forbidden', 'operator ops are taken on the unix socket only', {
          hint: 'use `pve-reconciler` on the host, or send a signed op',
        });
      }
      const { params, query, body: sent } = request;
      const input = { params, query, body: sent, gone: goneSignal(reply) };
      const { status = route.status, body } = await answer(input);
      return reply.code(status).send(body);
    },
  });
}

/** Aborted when the connection ends before the answer has gone out. */
export function goneSignal({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController();
  raw.once('close', () => {
    if (raw.writableFinished) return;
    gone.abort(new ReconcilerError('interrupted', 'whoever asked has gone'));
  });
  return gone.signal;
}

function guardBrowser(request: FastifyRequest, reply: FastifyReply): FastifyReply | undefined {
  reply.headers(PAGE_HEADERS);
  const { host } = request.headers;
  if (!isLoopbackHost(host)) {
    const message = 'this address answers to localhost, 127.0.0.1 and [::1] only';
    return sendProblem(problemOf({ code: 'forbidden', message }, ids(request), 421), reply);
  }
  if (isCrossSite(request.headers)) {
    const message = 'requests from other sites are refused';
    return sendProblem(problemOf({ code: 'forbidden', message }, ids(request)), reply);
  }
  return undefined;
}

export function sendProblem(
  problem: ReturnType<typeof problemOf>,
  reply: FastifyReply,
): FastifyReply {
  const isForNow = problem.status === 429 || problem.status === 503;
  if (isForNow && !reply.hasHeader('retry-after')) reply.header('retry-after', '1');
  return reply.code(problem.status).type(PROBLEM_TYPE).send(JSON.stringify(problem));
}

function sendError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  hint: string,
): FastifyReply {
  const status = httpStatusOf(error);
  if (error instanceof ReconcilerError || status >= 500) {
    return sendProblem(problemOfError(error, request.id), reply);
  }
  // Fastify's own refusals: a body too large, not JSON, of another type.
  const message = error instanceof Error ? error.message : 'bad request';
  const problem = problemOf({ code: 'invalid_request', message, hint }, ids(request), status);
  return sendProblem(problem, reply);
}

function httpStatusOf(error: unknown): number {
  if (error instanceof ReconcilerError) return statusOf(error.code);
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : 500;
  return typeof status === 'number' ? status : 500;
}

function ids(request: FastifyRequest): Readonly<Record<string, string>> {
  return { request_id: request.id };
}
