/**
 * Sends what a recording says was sent, and gives back everything that came, headers as they came.
 */
import { readFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import { gunzipSync } from 'node:zlib';
import type { Exchange } from './replay-transcript.ts';

export interface Got {
  readonly status: number;
  readonly reason: string;
  /** Names in lower case; a header that came twice has two values. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly text: string;
}

export class ReplayClient {
  readonly #url: string;
  readonly #agent: Agent;
  readonly #tokenLine: (name: string) => string;

  constructor(url: string, caFile: string, tokenLine: (name: string) => string) {
    this.#url = url;
    this.#tokenLine = tokenLine;
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1, ca: readFileSync(caFile) });
  }

  close(): void {
    this.#agent.destroy();
  }

  /** `path` is the recording's, with UPIDs that exist here. */
  send(step: Exchange, path: string): Promise<Got> {
    const { method } = step.request;
    const [body, contentType] = bodyOf(step);
    const authorization = this.#authorization(step);
    const headers = {
      ...(authorization === null ? {} : { authorization }),
      ...(contentType === null ? {} : { 'content-type': contentType }),
      ...(step.note === 'gzip accepted' ? { 'accept-encoding': 'gzip' } : {}),
      ...(body === null ? {} : { 'content-length': String(Buffer.byteLength(body)) }),
    };
    const url = new URL(this.#url);
    const options = {
      agent: this.#agent,
      host: url.hostname,
      port: url.port,
      method,
      path: `/api2/json${path}${queryOf(step)}`,
      headers,
    };
    return new Promise((resolve, reject) => {
      const request = httpsRequest(options, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          resolve({
            status: response.statusCode ?? 0,
            reason: response.statusMessage ?? '',
            headers: headersOf(response.rawHeaders),
            text: textOf(Buffer.concat(chunks), response.headers['content-encoding']),
          });
        });
      });
      request.once('error', reject);
      request.end(body ?? undefined);
    });
  }

  #authorization(step: Exchange): string | null {
    const { auth, note = '' } = step;
    if (auth === null || auth === undefined) return null;
    if (!auth.startsWith('custom:')) return `PVEAPIToken=${this.#tokenLine(auth)}`;
    if (auth.startsWith('custom:Bearer')) return 'Bearer x=y';
    if (note.startsWith('space')) return `PVEAPIToken ${this.#tokenLine('root')}`;
    if (note.startsWith('secret upper')) {
      const [id = '', secret = ''] = this.#tokenLine('root').split('=');
      return `PVEAPIToken=${id}=${secret.toUpperCase()}`;
    }
    return 'PVEAPIToken=root@pam!lab=wrong';
  }
}

function textOf(body: Buffer, encoding: string | undefined): string {
  return (encoding === 'gzip' ? gunzipSync(body) : body).toString('utf8');
}

function bodyOf(step: Exchange): [string | null, string | null] {
  const { form, json, raw_body: raw } = step.request;
  if (json !== undefined) return [JSON.stringify(json), 'application/json'];
  if (raw !== undefined) return rawBody(raw, step.note ?? '');
  if (form === undefined) return [null, null];
  const pairs = Object.entries(form).map(
    ([key, value]) => `${encode(key)}=${encode(String(value))}`,
  );
  return [pairs.join('&'), 'application/x-www-form-urlencoded'];
}

function rawBody(raw: string, note: string): [string | null, string | null] {
  const size = /^\((\d+) bytes\)$/.exec(raw)?.[1];
  const form = 'application/x-www-form-urlencoded';
  if (size !== undefined) return [`description=${'x'.repeat(Number(size) - 12)}`, form];
  if (note.includes('no content type')) return [null, null];
  if (note.startsWith('malformed JSON')) return ['{bad}', 'application/json'];
  if (note === 'wrong content type') return [raw, 'text/plain'];
  if (note === 'multipart') return [raw, 'multipart/form-data; boundary=x'];
  return [raw, form];
}

function queryOf(step: Exchange): string {
  const { query } = step.request;
  if (query === undefined) return '';
  const pairs = Object.entries(query).map(
    ([key, value]) => `${encode(key)}=${encode(String(value))}`,
  );
  return `?${pairs.join('&')}`;
}

const encode = encodeURIComponent;

function headersOf(raw: readonly string[]): Map<string, string[]> {
  const headers = new Map<string, string[]>();
  for (let index = 0; index < raw.length; index += 2) {
    const name = (raw[index] ?? '').toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), raw[index + 1] ?? '']);
  }
  return headers;
}
