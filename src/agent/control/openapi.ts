/** The control API as an OpenAPI 3.1 document, from the same routes that the server serves. */
import { z } from 'zod';
import { API } from './api.ts';
import { problemDocument } from './documents.ts';
import { PROBLEM_TYPE } from './problem.ts';
import type { Route } from './route.ts';

const JSON_TYPE = 'application/json';

export function openApiDocument(version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const [name, route] of Object.entries(API)) {
    const path = (paths[route.path] ??= {});
    path[route.method.toLowerCase()] = operation(name, route);
  }
  for (const [path, item] of Object.entries(OTHERS)) paths[path] = { ...paths[path], ...item };
  return {
    openapi: '3.1.0',
    info: {
      title: 'pve-reconciler control API',
      version,
      description:
        'On the unix socket all of it; on control.listen what reads, and signed ops; on control.public /metrics, /healthz, /readyz and POST /v1/ops.',
    },
    paths,
    components: { schemas: { Problem: schemaOf(problemDocument, 'output') } },
  };
}

function operation(name: string, route: Route): object {
  const hasBody = route.method === 'POST';
  return {
    operationId: name,
    summary: route.summary,
    'x-listeners': route.listeners,
    parameters: [...parametersOf(route.params, 'path'), ...parametersOf(route.query, 'query')],
    ...(hasBody
      ? { requestBody: { content: { [JSON_TYPE]: { schema: schemaOf(route.body, 'input') } } } }
      : {}),
    responses: {
      [route.status]: content(route.summary, JSON_TYPE, schemaOf(route.answer, 'output')),
      default: problem,
    },
  };
}

function parametersOf(schema: z.ZodType, place: 'path' | 'query'): object[] {
  const { properties = {}, required = [] } = schemaOf(schema, 'input');
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: place,
    required: required.includes(name),
    schema: property,
  }));
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): z.core.JSONSchema.BaseSchema {
  const { $schema: _dialect, ...json } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return json;
}

function content(description: string, type: string, schema: object): object {
  return { description, content: { [type]: { schema } } };
}

const problem = content('What went wrong, with its code', PROBLEM_TYPE, {
  $ref: '#/components/schemas/Problem',
});
const text = { type: 'string' };

/** Routes that do not speak JSON both ways. */
const OTHERS: Readonly<Record<string, Record<string, object>>> = {
  '/v1/ops': {
    post: {
      operationId: 'acceptEnvelope',
      summary: 'One signed op: a DSSE envelope',
      'x-listeners': ['socket', 'listen', 'public'],
      requestBody: { required: true, content: { [JSON_TYPE]: { schema: { type: 'object' } } } },
      responses: {
        200: content('The op this key stands for', JSON_TYPE, schemaOf(API.getOp.answer, 'output')),
        202: content('The op, durable', JSON_TYPE, schemaOf(API.getOp.answer, 'output')),
        default: problem,
      },
    },
  },
  '/v1/events': {
    get: {
      operationId: 'followEvents',
      summary: 'Server-sent events `op`, `guest` and `pass`, from all guests on',
      'x-listeners': ['socket', 'listen'],
      parameters: [
        {
          name: 'Last-Event-ID',
          in: 'header',
          required: false,
          description: 'The seq of the last record seen: the records since then come first',
          schema: { type: 'integer' },
        },
        {
          name: 'types',
          in: 'query',
          required: false,
          description: 'Only these, with commas',
          schema: { type: 'string', default: 'op,guest,pass' },
        },
      ],
      responses: { 200: content('The stream', 'text/event-stream', text), default: problem },
    },
  },
  '/metrics': {
    get: {
      operationId: 'getMetrics',
      summary: 'Prometheus text',
      'x-listeners': ['socket', 'listen', 'public'],
      responses: { 200: content('Metrics', 'text/plain', text) },
    },
  },
};
