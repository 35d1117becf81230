/**
 * From a method and a path to a handler, with pveproxy's order of refusals: no such method (501), a
 * parameter that contradicts the path (400), no privilege (403), unknown node (500), and then, in
 * pvedaemon where the schema says so, the parameters (400).
 */
import { ApiError, internalError, parameterError } from './api-error.ts';
import { type Handler, Params, type Result, type Routes } from './call.ts';
import { requirePermissions, schemaFor } from './endpoints.ts';
import type { PveNode } from './node.ts';
import type { Principal } from './principal.ts';
import type { GivenParams } from './request-params.ts';
import { checkParams, type EndpointSchema } from './schema.ts';

interface Route {
  readonly segments: readonly string[];
  readonly schema: EndpointSchema;
  readonly handle: Handler | null;
}

export interface ApiRequest {
  readonly method: string;
  /** Below /api2/json, decoded. */
  readonly path: string;
  readonly params: GivenParams;
  readonly principal: Principal;
}

export interface Resolved {
  /** Served by pvedaemon, not by pveproxy itself. */
  readonly isProxied: boolean;
  run(): Promise<Result>;
}

export class Router {
  readonly #node: PveNode;
  /** By method and number of segments. */
  readonly #routes = new Map<string, Route[]>();

  constructor(node: PveNode, routes: Routes) {
    this.#node = node;
    for (const [key, handle] of Object.entries(routes)) this.#add(key, handle);
  }

  #add(key: string, handle: Handler): void {
    const schema = schemaFor(key);
    if (schema === null) throw new Error(`no schema for ${key}`);
    const [method = '', template = ''] = key.split(' ');
    const segments = template.split('/').filter((segment) => segment !== '');
    const bucket = `${method} ${segments.length}`;
    const routes = this.#routes.get(bucket) ?? [];
    routes.push({ segments, schema, handle });
    // Literal segments before placeholders.
    routes.sort((a, b) => placeholders(a) - placeholders(b));
    this.#routes.set(bucket, routes);
  }

  /** Throws ApiError for everything pveproxy refuses by itself. */
  resolve(request: ApiRequest): Resolved {
    const segments = request.path.split('/').filter((segment) => segment !== '');
    const found = this.#find(request.method, segments);
    if (found === null) {
      const what = `Method '${request.method} ${request.path}' not implemented`;
      throw new ApiError(501, what, { newline: false });
    }
    const { route, fromPath } = found;
    const values = new Map(request.params);
    for (const [key, value] of fromPath) {
      if (values.has(key) && values.get(key) !== value) {
        const why = 'duplicate parameter (already defined in URI) with conflicting values!';
        throw parameterError({ [key]: why });
      }
      values.set(key, value);
    }
    requirePermissions(route.schema, request.principal, values);
    const asked = fromPath.get('node');
    if (route.schema.proxyto === 'node' && asked !== undefined && asked !== this.#node.name) {
      const why = `failed to get address info for: ${asked}: Name or service not known`;
      throw internalError(`hostname lookup '${asked}' failed - ${why}`);
    }
    return {
      isProxied: route.schema.protected === 1,
      run: () => this.#run(route, values, request.principal),
    };
  }

  async #run(
    route: Route,
    values: ReadonlyMap<string, unknown>,
    principal: Principal,
  ): Promise<Result> {
    const errors = checkParams(route.schema.properties, values);
    if (Object.keys(errors).length > 0) throw parameterError(errors);
    if (route.handle === null) throw internalError('not simulated');
    return route.handle({ node: this.#node, principal, params: new Params(values) });
  }

  #find(
    method: string,
    segments: readonly string[],
  ): { route: Route; fromPath: Map<string, string> } | null {
    for (const route of this.#routes.get(`${method} ${segments.length}`) ?? []) {
      const fromPath = match(route.segments, segments);
      if (fromPath !== null) return { route, fromPath };
    }
    return null;
  }
}

function placeholders(route: Route): number {
  return route.segments.filter((segment) => segment.startsWith('{')).length;
}

function match(
  template: readonly string[],
  segments: readonly string[],
): Map<string, string> | null {
  const values = new Map<string, string>();
  for (const [index, part] of template.entries()) {
    const segment = segments[index] ?? '';
    if (part.startsWith('{')) values.set(part.slice(1, -1), segment);
    else if (part !== segment) return null;
  }
  return values;
}
