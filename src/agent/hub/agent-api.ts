/**
 * An agent's HTTP API as `push` needs it: one envelope in, and what became of the op. Over TCP or
 * the agent's own socket. What is asked is safe to ask again: the same envelope is the same op.
 * Who answers may be anybody: an answer is bounded, and nothing of it is believed to be printable.
 */
import { Agent, type Dispatcher, request } from 'undici';
import { z } from 'zod';
import { ERROR_CODES, ReconcilerError } from '../../reconcile/errors.ts';
import { type OpId, parseOpId } from '../../reconcile/ids.ts';
import { OP_STATES } from '../../reconcile/op.ts';
import { requireTextFile } from '../config/text-file.ts';

/** The agent answers in milliseconds; a look at PVE may be part of it. */
const ANSWER_TIMEOUT_MS = 30_000;
/** An op with all its records and parameters, some times over. */
const ANSWER_MAX_BYTES = 4 * 1024 * 1024;
const CA_MAX_BYTES = 1024 * 1024;

export const opIdSchema = z.string().transform((text, context): OpId => {
  const opId = parseOpId(text);
  if (opId !== null) return opId;
  context.addIssue('expected an op id');
  return z.NEVER;
});

const opSchema = z.looseObject({
  op_id: opIdSchema,
  state: z.enum(OP_STATES),
  waiting_for: z.looseObject({ message: z.string() }).optional(),
  error: z.looseObject({ code: z.enum(ERROR_CODES), message: z.string() }).optional(),
  signed_receipt: z
    .object({
      payload: z.string(),
      payloadType: z.string(),
      signatures: z.array(z.object({ keyid: z.string(), sig: z.string() })),
    })
    .optional(),
});

/** An op as the agent shows it; fields this version does not know are kept. */
export type PushedOp = z.infer<typeof opSchema>;

const problemSchema = z.looseObject({
  code: z.enum(ERROR_CODES),
  detail: z.string(),
  hint: z.string().optional(),
  request_id: z.string().optional(),
});

export interface AgentApi extends AsyncDisposable {
  /** Throws what the agent refused it with, or `service_unavailable`. */
  postOp(envelope: string): Promise<PushedOp>;
  /** Null where this listener does not show ops (`control.public`). */
  readOp(opId: OpId): Promise<PushedOp | null>;
}

/** `to`: `http://…`, `https://…` or `unix:PATH`. */
export async function openAgentApi(to: string, caFile?: string): Promise<AgentApi> {
  const socketPath = to.startsWith('unix:') ? to.slice('unix:'.length) : null;
  const url = URL.parse(socketPath === null ? to : 'http://localhost');
  if (url === null || !isAddress(url)) {
    throw new ReconcilerError(
      'invalid_request',
      `${to}: expected http(s)://HOST:PORT or unix:PATH`,
    );
  }
  const ca = caFile === undefined ? {} : { ca: await readCa(caFile) };
  const dispatcher = new Agent({ connect: socketPath === null ? ca : { socketPath } });
  const timeouts = { headersTimeout: ANSWER_TIMEOUT_MS, bodyTimeout: ANSWER_TIMEOUT_MS };
  const ask = async (path: string, body?: string): Promise<{ status: number; json: unknown }> => {
    try {
      const answer = await request(new URL(path, url), {
        dispatcher,
        ...timeouts,
        method: body === undefined ? 'GET' : 'POST',
        ...(body === undefined ? {} : { body, headers: { 'content-type': 'application/json' } }),
      });
      return { status: answer.statusCode, json: parseJson(await readBounded(answer.body)) };
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new ReconcilerError('service_unavailable', `${to} does not answer: ${why}`, {
        disposition: 'retry',
        hint: 'is the agent running, and is this one of its listeners (`control` in config.yaml)?',
        cause,
      });
    }
  };
  return {
    async postOp(envelope) {
      return readAnswer(await ask('/v1/ops', envelope), to);
    },
    async readOp(opId) {
      const answer = await ask(`/v1/ops/${opId}`);
      return answer.status === 404 || answer.status === 421 ? null : readAnswer(answer, to);
    },
    [Symbol.asyncDispose]: () => dispatcher.destroy(),
  };
}

/** A host and a port: what stands behind them would be left out of every request. */
function isAddress({ protocol, username, password, pathname, search, hash }: URL): boolean {
  return /^https?:$/.test(protocol) && `${username}${password}${pathname}${search}${hash}` === '/';
}

async function readBounded(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    if (!Buffer.isBuffer(chunk)) continue;
    length += chunk.length;
    if (length > ANSWER_MAX_BYTES) throw new Error('it sent more than an agent would');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function readCa(file: string): Promise<string> {
  return requireTextFile(file, { maxBytes: CA_MAX_BYTES, code: 'invalid_request' });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function readAnswer({ status, json }: { status: number; json: unknown }, to: string): PushedOp {
  const op = opSchema.safeParse(json);
  if (status < 300 && op.success) return op.data;
  const problem = problemSchema.safeParse(json);
  if (!problem.success) {
    throw new ReconcilerError('service_unavailable', `${to} answered ${status}, not as an agent`);
  }
  const { code, detail, hint, request_id } = problem.data;
  throw new ReconcilerError(code, detail, {
    ...(hint === undefined ? {} : { hint }),
    context: request_id === undefined ? {} : { request_id },
  });
}
