/** The API of one node, typed: a request and the schema its answer must fit, as one value. */
import type * as z from 'zod';
import type { Problem } from '../reconcile/errors.ts';
import { parseAnswer, total } from './answers.ts';
import type { PveClient } from './client.ts';
import type { Failure } from './errors.ts';
import type { PveRequest } from './request.ts';

export type Result<T> =
  | { readonly kind: 'value'; readonly value: T; readonly total: number }
  | Failure;

export class PveApi {
  readonly node: string;
  readonly #client: Pick<PveClient, 'request'>;

  constructor(client: Pick<PveClient, 'request'>, node: string) {
    this.#client = client;
    this.node = node;
  }

  /** A misfit of the answer to a write may still have had its effect. */
  async ask<T>(
    schema: z.ZodType<T>,
    request: PveRequest,
    signal: AbortSignal,
    began?: () => void,
  ): Promise<Result<T>> {
    const reply = await this.#client.request(request, signal, began);
    if (reply.kind === 'failure') return reply;
    const parsed = parseAnswer(schema, reply.data, `${request.method} ${request.path}`);
    if (parsed.kind === 'misfit') return misfit(parsed.problem);
    return { kind: 'value', value: parsed.value, total: total.parse(reply.total ?? 0) };
  }
}

function misfit(problem: Problem): Failure {
  return { kind: 'failure', problem, effect: 'maybe', status: 200, errors: {} };
}
