/** A route with what answers it: the request is parsed by the route's schemas before. */
import type { z } from 'zod';
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { Route, RouteInput } from './route.ts';

export interface Answer {
  /** Where it differs from the route's own. */
  readonly status?: number;
  readonly body: object;
}

/** A request as HTTP brings it. `gone`: whoever sent it does not wait for its answer any more. */
interface RawInput {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
  readonly gone: AbortSignal;
}

export interface ServedRoute {
  readonly route: Route;
  /** Rejects with `invalid_request` where the request does not fit the schemas. */
  readonly answer: (input: RawInput) => Promise<Answer>;
}

export function serve<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType>(
  route: Route<P, Q, B>,
  handler: (input: RouteInput<Route<P, Q, B>>, gone: AbortSignal) => Promise<Answer> | Answer,
): ServedRoute {
  return {
    route,
    answer: async ({ params, query, body, gone }) => {
      const input = {
        params: parse(route.params, params, 'path'),
        query: parse(route.query, withoutBlanks(query), 'query'),
        body: parse(route.body, body ?? {}, 'body'),
      };
      return handler(input, gone);
    },
  };
}

/** `?vmid=` asks for nothing. */
function withoutBlanks(query: unknown): object {
  return Object.fromEntries(Object.entries(query ?? {}).filter(([, value]) => value !== ''));
}

function parse<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  place: string,
): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map(
    ({ path, message }) => `${[place, ...path].join('.')}: ${message}`,
  );
  throw new ReconcilerError('invalid_request', issues.join('; '), {
    hint: 'GET /v1/openapi.json has what each route takes',
  });
}
