/** One request at a time to a simulator, for its own tests: no retries, nothing interpreted. */
import { readFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import type { Simulator } from './start.ts';

export interface Told {
  readonly status: number;
  readonly reason: string;
  /** All `Connection` headers. */
  readonly connection: readonly string[];
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
  /** `data` of a JSON body. */
  readonly data: unknown;
}

export interface Asking {
  (method: string, path: string, params?: Readonly<Record<string, unknown>>): Promise<Told>;
}

/** Each request on a connection of its own. */
export function asking(
  pve: Pick<Simulator, 'url' | 'caFile' | 'token'>,
  options: { readonly token?: string } = {},
): { readonly ask: Asking; readonly close: () => void } {
  const agent = new Agent({ keepAlive: false, ca: readFileSync(pve.caFile) });
  const authorization = `PVEAPIToken=${pve.token(options.token ?? 'root')}`;
  const ask: Asking = (method, path, params) => {
    const body = params === undefined ? null : JSON.stringify(params);
    const headers = {
      authorization,
      ...(body === null
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
    };
    return new Promise((resolve, reject) => {
      const url = `${pve.url}/api2/json${path}`;
      const request = httpsRequest(url, { agent, method, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          resolve({
            status: response.statusCode ?? 0,
            reason: response.statusMessage ?? '',
            connection: connectionsOf(response.rawHeaders),
            headers: response.headers,
            text,
            data: dataOf(text),
          });
        });
      });
      request.once('error', reject);
      request.end(body ?? undefined);
    });
  };
  return { ask, close: () => agent.destroy() };
}

function connectionsOf(raw: readonly string[]): string[] {
  return raw.filter(
    (_, index) => raw[index - 1]?.toLowerCase() === 'connection' && index % 2 === 1,
  );
}

function dataOf(text: string): unknown {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null && 'data' in parsed
      ? parsed.data
      : undefined;
  } catch {
    return undefined;
  }
}
