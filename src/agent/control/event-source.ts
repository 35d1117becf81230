/** Reads server-sent events (the WHATWG format) out of a response's bytes. Pure but for the bytes. */

export interface ServerEvent {
  readonly type: string;
  readonly data: string;
  /** The id to resume after, as of this event. */
  readonly lastId: string;
}

/** A line longer than this is no event of ours. */
const LINE_CHARS_MAX = 4 * 1024 * 1024;

export async function* readServerEvents(
  chunks: AsyncIterable<Uint8Array>,
  startId = '',
): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  let lastId = startId;
  let type = '';
  let data: string[] = [];
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > LINE_CHARS_MAX) throw new Error('an event that never ends');
    for (const line of lines) {
      if (line === '') {
        // A block without data only moves the id.
        if (data.length > 0) yield { type: type || 'message', data: data.join('\n'), lastId };
        type = '';
        data = [];
        continue;
      }
      const [name, value] = splitField(line);
      if (name === 'id') lastId = value;
      if (name === 'event') type = value;
      if (name === 'data') data.push(value);
    }
  }
}

function splitField(line: string): [string, string] {
  const colon = line.indexOf(':');
  if (colon === -1) return [line, ''];
  const value = line.slice(colon + 1);
  return [line.slice(0, colon), value.startsWith(' ') ? value.slice(1) : value];
}
