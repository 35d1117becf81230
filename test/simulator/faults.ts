/**
 * Misbehaviour on request: what a node, a proxy or a network does wrong, switched on per pattern.
 * `effect` says whether the request takes effect although its answer goes wrong.
 */
import { z } from 'zod';
import { assertNever } from './assert-never.ts';
import { type Answer, type Reply, renderAnswer } from './wire.ts';

const pattern = {
  /** GET, PUT, POST or DELETE; left out: any. */
  method: z.string().optional(),
  /** A regular expression on the path below /api2/json. */
  path: z.string().default(''),
  /** Requests that match and are let through first. */
  after: z.int().min(0).default(0),
  /** How many requests it then hits; 0: all. */
  count: z.int().min(0).default(1),
};
const effect = z.boolean().default(false);
const ms = z.number().min(0);

export const faultSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    ...pattern,
    kind: z.literal('delay'),
    ms,
    when: z.enum(['before', 'after']).default('before'),
  }),
  z.strictObject({ ...pattern, kind: z.literal('hang'), effect }),
  z.strictObject({ ...pattern, kind: z.literal('cut'), effect }),
  z.strictObject({
    ...pattern,
    kind: z.literal('error'),
    status: z.int(),
    reason: z.string(),
    body: z.string().nullable().default(null),
    effect,
  }),
  z.strictObject({
    ...pattern,
    kind: z.literal('no_worker_upid'),
    effect: z.boolean().default(true),
  }),
  z.strictObject({ ...pattern, kind: z.literal('garbage'), effect }),
  z.strictObject({ ...pattern, kind: z.literal('half') }),
  z.strictObject({
    ...pattern,
    kind: z.literal('slow'),
    chunk_bytes: z.int().min(1).default(16),
    chunk_ms: ms.default(100),
  }),
  z.strictObject({ ...pattern, kind: z.literal('wrong_types') }),
  z.strictObject({ ...pattern, kind: z.literal('html') }),
  z.strictObject({ ...pattern, kind: z.literal('invalid_json') }),
  z.strictObject({ ...pattern, kind: z.literal('content_type'), value: z.string() }),
  z.strictObject({
    ...pattern,
    kind: z.literal('body'),
    body: z.string(),
    status: z.int().default(200),
    effect,
  }),
  z.strictObject({ ...pattern, kind: z.literal('oversized'), bytes: z.int().min(1) }),
  z.strictObject({ ...pattern, kind: z.literal('redirect'), location: z.string() }),
]);

export type Fault = z.infer<typeof faultSchema>;

export class Faults {
  #active: { readonly id: number; readonly fault: Fault; readonly path: RegExp; seen: number }[] =
    [];
  #nextId = 1;

  add(fault: Fault): number {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#active.push({ id, fault, path: new RegExp(fault.path), seen: 0 });
    return id;
  }

  /** Those still to come, with how many requests each has seen. */
  list(): unknown[] {
    return this.#active.map(({ id, fault, seen }) => ({ id, seen, ...fault }));
  }

  clear(): void {
    this.#active = [];
  }

  /** The first fault that hits this request; each that matches counts it. */
  take(method: string, path: string): Fault | null {
    let hit: Fault | null = null;
    for (const entry of this.#active) {
      const { fault } = entry;
      if (fault.method !== undefined && fault.method !== method) continue;
      if (!entry.path.test(path)) continue;
      entry.seen += 1;
      const isDue = entry.seen > fault.after;
      if (isDue && hit === null) hit = fault;
    }
    this.#active = this.#active.filter(
      ({ fault, seen }) => fault.count === 0 || seen < fault.after + fault.count,
    );
    return hit;
  }
}

const realSleep = (delayMs: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, delayMs);
  });

/**
 * What goes over the wire instead; `act` performs the request and gives its true answer,
 * `loseWorker` makes the task it started end with `unexpected status`.
 */
export async function applyFault(
  fault: Fault,
  act: () => Promise<Answer>,
  loseWorker: (answer: Answer, hasEffect: boolean) => void,
): Promise<Reply> {
  const mayAct = async (isEffective: boolean): Promise<void> => {
    if (isEffective) await act();
  };
  switch (fault.kind) {
    case 'delay': {
      if (fault.when === 'before') await realSleep(fault.ms);
      const answer = await act();
      if (fault.when === 'after') await realSleep(fault.ms);
      return answer;
    }
    case 'hang':
      await mayAct(fault.effect);
      return { kind: 'hang' };
    case 'cut':
      await mayAct(fault.effect);
      return { kind: 'cut', bytes: null };
    case 'error':
      await mayAct(fault.effect);
      return plain(fault.status, fault.reason, fault.body);
    case 'no_worker_upid':
      loseWorker(await act(), fault.effect);
      return json(500, 'got no worker upid', '{"data":null,"message":"got no worker upid\\n"}');
    case 'garbage':
      await mayAct(fault.effect);
      return {
        kind: 'cut',
        bytes: Buffer.from('\u0016\u0003\u0000\u00ff not HTTP at all \r\n\r\n'),
      };
    case 'half':
      return half(await act());
    case 'slow':
      return slow(await act(), fault);
    case 'redirect':
      return { ...plain(301, 'Moved Permanently', ''), headers: [['Location', fault.location]] };
    case 'oversized':
      return { kind: 'chunks', chunks: oversized(fault.bytes) };
    case 'body':
      await mayAct(fault.effect);
      return json(fault.status, 'OK', fault.body);
    default:
      return distort(fault, await act());
  }
}

type Distortion = Extract<
  Fault,
  { kind: 'wrong_types' | 'html' | 'invalid_json' | 'content_type' }
>;

/** The request takes effect, its answer says something else. */
function distort(fault: Distortion, answer: Answer): Answer {
  switch (fault.kind) {
    case 'wrong_types': {
      const parsed: unknown = JSON.parse(answer.body?.toString('utf8') ?? 'null');
      return { ...answer, body: Buffer.from(JSON.stringify(swapTypes(parsed))) };
    }
    case 'html': {
      const page = '<!DOCTYPE html><html><body><h1>It works</h1></body></html>';
      return { ...answer, contentType: 'text/html; charset=utf-8', body: Buffer.from(page) };
    }
    case 'invalid_json':
      return { ...answer, body: Buffer.from('{"data":[{"vmid":100,') };
    case 'content_type':
      return { ...answer, contentType: fault.value };
    default:
      return assertNever(fault);
  }
}

function plain(status: number, reason: string, body: string | null): Answer {
  const bytes = body === null ? null : Buffer.from(body);
  return { kind: 'answer', status, reason, contentType: null, body: bytes, isProxied: false };
}

function json(status: number, reason: string, body: string): Answer {
  const contentType = 'application/json;charset=UTF-8';
  return { ...plain(status, reason, body), contentType, isProxied: true };
}

function half(answer: Answer): Reply {
  const bytes = renderAnswer(answer, { isLast: true, nowMs: Date.now() });
  const cutAt = bytes.length - Math.ceil((answer.body?.length ?? 0) / 2);
  return { kind: 'cut', bytes: bytes.subarray(0, cutAt) };
}

function slow(answer: Answer, how: { chunk_bytes: number; chunk_ms: number }): Reply {
  const bytes = renderAnswer(answer, { isLast: true, nowMs: Date.now() });
  return { kind: 'chunks', chunks: dribble(bytes, how) };
}

async function* dribble(
  bytes: Buffer,
  how: { chunk_bytes: number; chunk_ms: number },
): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += how.chunk_bytes) {
    yield bytes.subarray(at, at + how.chunk_bytes);
    await realSleep(how.chunk_ms);
  }
}

/** A JSON body that goes on and on, without a length. */
async function* oversized(total: number): AsyncGenerator<Buffer> {
  yield Buffer.from(
    'HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\n' +
      'Connection: close\r\n\r\n{"data":"',
  );
  const chunk = Buffer.alloc(64 * 1024, 'x');
  for (let sent = 0; sent < total; sent += chunk.length) yield chunk;
  yield Buffer.from('"}');
}

/** Numbers become objects, text becomes numbers, lists become objects. */
function swapTypes(value: unknown): unknown {
  if (Array.isArray(value)) return { 0: value.map(swapTypes) };
  if (typeof value === 'number') return { number: value };
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 'null';
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, swapTypes(inner)]));
}
