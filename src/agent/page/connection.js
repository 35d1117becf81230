/**
 * The stream of events, and whether there is one. The browser reconnects by itself and says what
 * it has seen last; where it gives up, it is begun anew.
 */

const RETRY_MS = 2_000;
/** A tunnel may hang without a word: the agent is asked now and then. */
const PROBE_MS = 15_000;
const PROBE_TIMEOUT_MS = 5_000;

/** `handlers`: by event type, given the parsed data; `online`, `offline`: what is known of it. */
export function connect({ handlers, online, offline }) {
  let source = null;
  const begin = () => {
    source?.close();
    source = new EventSource('/v1/events');
    source.addEventListener('open', online);
    source.addEventListener('error', () => {
      offline();
      if (source.readyState === EventSource.CLOSED) setTimeout(begin, RETRY_MS);
    });
    for (const [type, handle] of Object.entries(handlers)) {
      source.addEventListener(type, ({ data }) => handle(JSON.parse(data)));
    }
  };
  begin();
  setInterval(async () => {
    try {
      await fetch('/healthz', { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
    } catch {
      offline();
      begin();
    }
  }, PROBE_MS);
}

/** An answer of the API; throws its problem's words. */
export async function read(path) {
  const response = await fetch(path);
  const json = await response.json();
  if (!response.ok) throw new Error(json.detail ?? `HTTP ${response.status}`);
  return json;
}
