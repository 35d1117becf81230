/**
 * What a request over the wire goes through: body, authentication, fault, route, pvedaemon; and how
 * the outcome is put into an answer. Also the same for "somebody", who needs no wire.
 */
import { gzipSync } from 'node:zlib';
import { ApiError } from './api-error.ts';
import { authenticate } from './auth.ts';
import type { Result } from './call.ts';
import { ProxyError } from './daemon.ts';
import { applyFault, type Faults } from './faults.ts';
import type { PveNode } from './node.ts';
import { fullName, type Principal } from './principal.ts';
import type { LoggedRequest, RequestLog } from './request-log.ts';
import { decodeRequest, type GivenParams, UnreadableBody } from './request-params.ts';
import type { Router } from './router.ts';
import type { Answer, Reply, WireHandler } from './wire.ts';
import type { WireRequest } from './wire-request.ts';

const METHODS = new Set(['GET', 'PUT', 'POST', 'DELETE']);
const PREFIX = '/api2/json';
const JSON_TYPE = 'application/json;charset=UTF-8';
/** Smaller answers are not compressed. */
const GZIP_FROM_BYTES = 1024;

export interface Api {
  readonly node: PveNode;
  readonly router: Router;
  readonly faults: Faults;
  readonly log: RequestLog;
}

export function createHandler(api: Api): WireHandler {
  return async (request) => {
    const start = performance.now();
    const logged: { entry: LoggedRequest | null } = { entry: null };
    const reply = await handle(api, request, logged);
    if (request.method !== 'GET') api.node.onChange();
    if (logged.entry !== null) {
      logged.entry.ms = Math.round(performance.now() - start);
      if (reply.kind === 'answer') {
        logged.entry.status = reply.status;
        logged.entry.reason = reply.reason;
      }
    }
    return reply;
  };
}

async function handle(
  api: Api,
  request: WireRequest,
  logged: { entry: LoggedRequest | null },
): Promise<Reply> {
  const { method } = request;
  if (!METHODS.has(method)) return bare(501, `method '${method}' not available`);
  let decoded: { path: string; params: GivenParams };
  try {
    decoded = decodeRequest(request);
  } catch (error) {
    if (!(error instanceof UnreadableBody)) throw error;
    return unreadable(error);
  }
  const path = decoded.path.startsWith(PREFIX) ? decoded.path.slice(PREFIX.length) : decoded.path;
  const authentication = authenticate(api.node, request.headers.get('authorization'));
  const principal = authentication.kind === 'known' ? authentication.principal : null;
  logged.entry = api.log.add({
    method,
    path,
    params: Object.fromEntries(decoded.params),
    token: principal === null ? null : fullName(principal),
  });
  const { entry } = logged;
  const act = async (): Promise<Answer> => {
    if (authentication.kind === 'known') {
      const { params } = decoded;
      const ask = { method, path, params, principal: authentication.principal };
      return answerApi(api, request, ask, entry);
    }
    return answerStranger(api, method, path, authentication.reason);
  };
  const fault = api.faults.take(method, path);
  if (fault === null) return act();
  entry.fault = fault.kind;
  return applyFault(fault, act, (answer, hasEffect) => loseWorker(api.node, answer, hasEffect));
}

/** The worker that an answer names is lost, before or after it has done its work. */
function loseWorker(node: PveNode, answer: Answer, hasEffect: boolean): void {
  const upid = /"(UPID:[^"]+)"/.exec(answer.body?.toString('utf8') ?? '')?.[1];
  if (upid === undefined) return;
  if (hasEffect) node.tasks.disown(upid);
  else node.tasks.kill(upid);
}

/** 401 always takes its time (PVE-FACTS 3). */
async function answerStranger(
  api: Api,
  method: string,
  path: string,
  reason: string,
): Promise<Answer> {
  if (path === '/access/ticket') {
    if (method === 'GET') return jsonAnswer(200, 'OK', { data: null });
    await api.node.clock.sleep(api.node.authDelayMs);
    const message = 'authentication failure';
    return jsonAnswer(401, message, { data: null, message: `${message}\n` });
  }
  await api.node.clock.sleep(api.node.authDelayMs);
  return bare(401, reason);
}

interface Ask {
  readonly method: string;
  readonly path: string;
  readonly params: GivenParams;
  readonly principal: Principal;
}

async function answerApi(
  api: Api,
  request: WireRequest,
  ask: Ask,
  entry: LoggedRequest,
): Promise<Answer> {
  const onDone = ({ data }: Result): void => {
    entry.effect_at = new Date().toISOString();
    if (typeof data === 'string' && data.startsWith('UPID:')) entry.upid = data;
  };
  const { answer } = await perform(api, ask, onDone);
  const acceptsGzip = request.headers.get('accept-encoding')?.includes('gzip') === true;
  if (!acceptsGzip || answer.body === null || answer.body.length < GZIP_FROM_BYTES) return answer;
  return { ...answer, body: gzipSync(answer.body), headers: [['Content-Encoding', 'gzip']] };
}

/** Does what is asked, whoever asks. `onDone`: it is done, maybe long after a 596 said otherwise. */
export async function perform(
  api: Pick<Api, 'node' | 'router'>,
  ask: Ask,
  onDone: (result: Result) => void = () => {},
): Promise<{ answer: Answer; data: unknown }> {
  let isProxied = false;
  try {
    const resolved = api.router.resolve(ask);
    isProxied = resolved.isProxied;
    const run = async (): Promise<Result> => {
      const done = await resolved.run();
      onDone(done);
      return done;
    };
    const result = isProxied ? await api.node.daemon.serve(run) : await run();
    return { answer: { ...resultAnswer(result), isProxied }, data: result.data };
  } catch (error) {
    if (error instanceof ProxyError)
      return { answer: bare(error.status, error.message), data: null };
    if (!(error instanceof ApiError)) throw error;
    return { answer: { ...errorAnswer(error), isProxied }, data: null };
  }
}

function resultAnswer(result: Result): Answer {
  if (result.text !== undefined) {
    const body = Buffer.from(result.text);
    return { ...jsonAnswer(200, 'OK', null), contentType: 'text/plain', body };
  }
  const { data, total } = result;
  return jsonAnswer(200, 'OK', total === undefined ? { data } : { data, total });
}

function errorAnswer(error: ApiError): Answer {
  const message = error.newline ? `${error.message}\n` : error.message;
  const errors = error.errors === null ? {} : { errors: error.errors };
  // The status line has no room for a line break.
  const reason = error.message.replaceAll(/\s*\n\s*/g, ' ');
  return jsonAnswer(error.status, reason, { data: null, message, ...errors });
}

function jsonAnswer(status: number, reason: string, body: unknown): Answer {
  const bytes = Buffer.from(JSON.stringify(body), 'utf8');
  return { kind: 'answer', status, reason, contentType: JSON_TYPE, body: bytes, isProxied: false };
}

/** Neither body nor length (PVE-FACTS 2). */
function bare(status: number, reason: string): Answer {
  return { kind: 'answer', status, reason, contentType: null, body: null, isProxied: false };
}

function unreadable(error: UnreadableBody): Answer {
  const body = Buffer.from(error.newline ? `${error.message}\n` : error.message);
  return { ...bare(error.status, error.message), body };
}
