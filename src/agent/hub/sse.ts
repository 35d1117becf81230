/** Server-sent events out of the bytes of a stream (WHATWG HTML, 9.2). Bounded: it never waits. */

/** An envelope, and some room: beyond it the stream is not one of ours. */
export const EVENT_MAX_CHARS = 256 * 1024;

export interface ServerEvent {
  /** `message` where the stream names none. */
  readonly type: string;
  readonly data: string;
  /** The last id the stream gave, or empty. */
  readonly id: string;
}

export class EventParser {
  readonly #decoder = new TextDecoder('utf-8');
  /** What has come of the line that is not complete yet, in pieces: a byte at a time is no cost. */
  #rest: string[] = [];
  #restChars = 0;
  #type = '';
  #data: string[] = [];
  #chars = 0;
  #id = '';

  /** The events these bytes complete; null: what came is larger than an event may be. */
  push(bytes: Uint8Array): readonly ServerEvent[] | null {
    const piece = this.#decoder.decode(bytes, { stream: true });
    this.#rest.push(piece);
    this.#restChars += piece.length;
    if (this.#restChars > EVENT_MAX_CHARS + piece.length) return null;
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
      if (this.#chars > EVENT_MAX_CHARS) return null;
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
