/**
 * What a route of the control API is: one value that the server, the client and the OpenAPI
 * document read, so that the three cannot differ.
 */
import { z } from 'zod';

/**
 * Where a request came in: the unix socket (operators), `control.listen` (loopback: reads, the
 * page, signed ops) or `control.public` (anywhere: probes, metrics and signed ops).
 */
const LISTENERS = ['socket', 'listen', 'public'] as const;
export type Listener = (typeof LISTENERS)[number];

const READERS: readonly Listener[] = ['socket', 'listen'];
const EVERYBODY: readonly Listener[] = LISTENERS;
const OPERATORS: readonly Listener[] = ['socket'];
export const WHO = { readers: READERS, everybody: EVERYBODY, operators: OPERATORS };

export interface Route<
  Params extends z.ZodType = z.ZodType,
  Query extends z.ZodType = z.ZodType,
  Body extends z.ZodType = z.ZodType,
  Answer extends z.ZodType = z.ZodType,
> {
  readonly method: 'GET' | 'POST';
  /** With parameters as OpenAPI writes them: `/v1/ops/{op_id}`. */
  readonly path: string;
  readonly summary: string;
  readonly listeners: readonly Listener[];
  readonly params: Params;
  readonly query: Query;
  /** Of a POST; no body at all reads as `{}`. */
  readonly body: Body;
  readonly answer: Answer;
  /** Of the usual answer. */
  readonly status: 200 | 202;
}

const nothing = z.strictObject({});
type Nothing = typeof nothing;

export function defineRoute<
  Answer extends z.ZodType,
  Params extends z.ZodType = Nothing,
  Query extends z.ZodType = Nothing,
  Body extends z.ZodType = Nothing,
>(
  route: Pick<Route, 'method' | 'path' | 'summary' | 'listeners'> & {
    readonly answer: Answer;
    readonly params?: Params;
    readonly query?: Query;
    readonly body?: Body;
    readonly status?: 200 | 202;
  },
): Route<Params, Query, Body, Answer>;
export function defineRoute(
  route: Pick<Route, 'method' | 'path' | 'summary' | 'listeners' | 'answer'> & Partial<Route>,
): Route {
  return { params: nothing, query: nothing, body: nothing, status: 200, ...route };
}

/** What a handler is given: everything parsed. */
export interface RouteInput<R extends Route> {
  readonly params: z.output<R['params']>;
  readonly query: z.output<R['query']>;
  readonly body: z.output<R['body']>;
}

/** What a client says: as written, before defaults. */
export interface RouteCall<R extends Route> {
  readonly params?: z.input<R['params']>;
  readonly query?: z.input<R['query']>;
  readonly body?: z.input<R['body']>;
}
