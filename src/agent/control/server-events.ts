/** Server-sent events out of the bytes of a stream (WHATWG HTML, 9.2). Bounded: it never waits. */
import { ReconcilerError } from '../../reconcile/errors.ts';

export interface ServerEvent {
  /** `message` where the stream names none. */
  readonly type: string;
  readonly data: string;
  /** The last id the stream gave: where to resume. Empty where it gave none. */
  readonly id: string;
}

export interface EventLimits {
  /** An event larger than this, or a line that never ends, is none of ours. */
  readonly maxChars: number;
  /** The id to begin with, where a stream is resumed. */
  readonly startId?: string;
}

/** The events of one stream, to its end. Throws where one is too large. */
export async function* readServerEvents(
  chunks: AsyncIterable<Uint8Array>,
  limits: EventLimits,
): AsyncGenerator<ServerEvent> {
  const parser = new EventParser(limits);
  for await (const chunk of chunks) {
    const events = parser.push(chunk);
    if (events === null) {
      const message = `an event of more than ${limits.maxChars} characters`;
      throw new ReconcilerError('service_unavailable', message, { disposition: 'retry' });
    }
    yield* events;
  }
}

export class EventParser {
  readonly #decoder = new TextDecoder('utf-8');
  /** What has come of the line that is not complete yet, in pieces: a byte at a time is no cost. */
  #rest: string[] = [];
  #restChars = 0;
  #type = '';
  #data: string[] = [];
  #chars = 0;
  #id: string;
  readonly #maxChars: number;

  constructor({ maxChars, startId = '' }: EventLimits) {
    this.#maxChars = maxChars;
    this.#id = startId;
  }

  /** The events these bytes complete; null: what came is larger than an event may be. */
  push(bytes: Uint8Array): readonly ServerEvent[] | null {
    const piece = this.#decoder.decode(bytes, { stream: true });
    this.#rest.push(piece);
    this.#restChars += piece.length;
    if (this.#restChars > this.#maxChars + piece.length) return null;
    if (!/[\r\n]/.test(piece) && !this.#rest.at(-2)?.endsWith('\r')) return [];
    // A carriage return at the very end may be half of a line's end.
    const lines = this.#rest.join('').split(/\r\n|\n|\r(?!$)/);
    const rest = lines.pop() ?? '';
    this.#rest = [rest];
    this.#restChars = rest.length;
    const events: ServerEvent[] = [];
    for (const line of lines) {
      if (line === '') events.push(...this.#dispatch());
      else this.#read(line);
      if (this.#chars > this.#maxChars) return null;
    }
    return events;
  }

  #read(line: string): void {
    this.#chars += line.length;
    const [, field = '', value = ''] = /^([^:]*)(?::[ ]?(.*))?$/su.exec(line) ?? [];
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#type = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
  }

  #dispatch(): readonly ServerEvent[] {
    const event = { type: this.#type || 'message', data: this.#data.join('\n'), id: this.#id };
    const isEmpty = this.#data.length === 0;
    this.#type = '';
    this.#data = [];
    this.#chars = 0;
    return isEmpty ? [] : [event];
  }
}
