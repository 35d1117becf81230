/** One request to the PVE API, as a value. */

export interface PveRequest {
  readonly method: 'GET' | 'POST' | 'PUT';
  /** The path with its variable parts named: the label in metrics and logs. */
  readonly route: string;
  /** Below /api2/json, encoded, with the query. */
  readonly path: string;
  /** Sent as JSON: form bodies lose text after a second `=` (PVE-FACTS 1). */
  readonly body?: Readonly<Record<string, unknown>>;
}

type PathValues = Readonly<Record<string, string | number>>;

export function readRequest(
  route: string,
  values: PathValues = {},
  query: Readonly<Record<string, string | number>> = {},
): PveRequest {
  const search = Object.entries(query)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('&');
  const path = fillPath(route, values);
  return { method: 'GET', route, path: search === '' ? path : `${path}?${search}` };
}

export function writeRequest(
  method: 'POST' | 'PUT',
  route: string,
  values: PathValues,
  body: Readonly<Record<string, unknown>>,
): PveRequest {
  return { method, route, path: fillPath(route, values), body };
}

export function isWrite(request: PveRequest): boolean {
  return request.method !== 'GET';
}

function fillPath(route: string, values: PathValues): string {
  return route.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(values[name] ?? ''));
}
