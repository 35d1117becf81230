/** The head of an HTTP/1.1 request, as pveproxy reads it. */
export interface WireRequest {
  readonly method: string;
  /** As sent: path and query, still percent-encoded. */
  readonly target: string;
  /** Names in lower case; the last of equal names wins. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** More header lines end the connection without an answer (PVE-FACTS 4). */
const MAX_HEADER_LINES = 64;
/** The request line does not count (transcript http_limits). */
const MAX_HEADER_BYTES = 8 * 1024;

/** null: not HTTP, or more than pveproxy reads. */
export function parseHead(head: string): WireRequest | null {
  const [first = '', ...lines] = head.split('\r\n').filter((line) => line !== '');
  const match = /^([A-Za-z]+) (\S+) HTTP\/1\.[01]$/.exec(first);
  const headerBytes = head.length - first.length;
  if (match === null || lines.length > MAX_HEADER_LINES) return null;
  if (headerBytes > MAX_HEADER_BYTES) return null;
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 1) return null;
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return { method: match[1] ?? '', target: match[2] ?? '', headers, body: Buffer.alloc(0) };
}
