/**
 * `GET /v1/events`: server-sent events `op` (a journal record; its id is the record's seq),
 * `guest` (a guest as `/v1/guests` shows it) and `pass`. A reader that comes back with
 * `Last-Event-ID` is given the records it has missed; every reader begins with all guests, so that
 * nothing has to be asked for beside the stream.
 *
 * Invariants: records come in the order of their seq, each once; a reader that does not keep up is
 * cut off (it resumes), it never makes the agent hold what it has not read.
 */
import type { ServerResponse } from 'node:http';
import type { OpRecord } from '../../reconcile/op.ts';
import type { GuestChange, GuestFeed } from './guest-feed.ts';
import type { PassEvent, PassRunner } from './pass-runner.ts';
import type { ControlPorts } from './ports.ts';
import { readRecordsSince } from './records-since.ts';

export const EVENT_TYPES = ['op', 'guest', 'pass'] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/** Pages and commands of a few people; a script that leaks streams is told so. */
const STREAMS_MAX = 64;
/** Proxies and the page take a minute of silence for a lost connection. */
const KEEPALIVE_MS = 15_000;
/** How soon a reader that lost the connection comes back. */
const RETRY_MS = 1_000;
/** A first snapshot of 10,000 guests fits; a reader further behind is cut off. */
const UNREAD_BYTES_MAX = 16 * 1024 * 1024;

interface StreamRequest {
  readonly response: ServerResponse;
  readonly types: ReadonlySet<EventType>;
  /** The seq of the last record seen; null: from now on. */
  readonly lastSeq: number | null;
}

export interface EventStreams {
  /** There are as many as may be: none is to be opened. */
  readonly isFull: boolean;
  open(request: StreamRequest): void;
  /** Ends all of them. */
  close(): void;
}

interface StreamPorts {
  readonly ports: Pick<ControlPorts, 'events' | 'history' | 'clock' | 'reportError'>;
  readonly feed: GuestFeed;
  readonly passes: PassRunner;
}

export function createEventStreams(parts: StreamPorts): EventStreams {
  const open = new Set<Stream>();
  return {
    get isFull() {
      return open.size >= STREAMS_MAX;
    },
    open(request) {
      const stream = new Stream(request, parts);
      open.add(stream);
      request.response.once('close', () => {
        open.delete(stream);
        stream.close();
      });
      stream.begin();
    },
    close() {
      for (const stream of open) stream.close();
    },
  };
}

class Stream {
  readonly #request: StreamRequest;
  readonly #parts: StreamPorts;
  readonly #closing = new AbortController();
  readonly #unsubscribe: (() => void)[] = [];
  /** Records that came while the missed ones were read; null: they go out at once. */
  #held: OpRecord[] | null = [];
  #sentSeq: number;
  /** It has seen records that are not in this journal: the state folder is another, or an older one. */
  readonly #isAhead: boolean;

  constructor(request: StreamRequest, parts: StreamPorts) {
    this.#request = request;
    this.#parts = parts;
    const { lastSeq } = parts.feed;
    this.#isAhead = request.lastSeq !== null && request.lastSeq > lastSeq;
    this.#sentSeq = this.#isAhead ? lastSeq : (request.lastSeq ?? lastSeq);
  }

  begin(): void {
    const { response, types } = this.#request;
    const { ports, passes } = this.#parts;
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    // An id without data: where to resume, also if no record comes.
    this.#write(`retry: ${RETRY_MS}\nid: ${this.#sentSeq}\n\n`);
    if (types.has('op')) {
      const unsubscribe = ports.events.subscribe((event) => {
        if (event.kind === 'op') this.#takeRecord(event.record);
      });
      this.#unsubscribe.push(unsubscribe);
    }
    void this.#catchUp();
    if (types.has('pass')) {
      const { lastPass } = passes;
      this.#unsubscribe.push(passes.subscribe((event) => this.#sendPass(event)));
      if (lastPass !== null) this.#sendPass(lastPass);
    }
    void this.#keepAlive();
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#request.response.end();
  }

  /** What was missed, then the guests as they are: first how an op came to wait, then for what. */
  async #catchUp(): Promise<void> {
    const { types } = this.#request;
    if (types.has('op')) await this.#sendMissed();
    if (!types.has('guest') || this.#closing.signal.aborted) return;
    const { feed } = this.#parts;
    this.#unsubscribe.push(feed.subscribe((change) => this.#sendGuest(change)));
    for (const change of feed.snapshot()) this.#sendGuest(change);
  }

  async #sendMissed(): Promise<void> {
    const { ports, feed } = this.#parts;
    const seq = this.#sentSeq;
    try {
      const missing = feed.lastSeq - seq;
      const missed = await readRecordsSince(ports.history, { seq, missing, clock: ports.clock });
      if (missed.kind === 'too_many' || this.#isAhead) this.#write('event: reset\ndata: {}\n\n');
      else for (const record of missed.records) this.#sendRecord(record);
    } catch (error) {
      // The reader comes back and asks again.
      ports.reportError(error, 'events');
      return this.close();
    }
    const held = this.#held ?? [];
    this.#held = null;
    for (const record of held) this.#sendRecord(record);
  }

  #takeRecord(record: OpRecord): void {
    if (this.#held === null) this.#sendRecord(record);
    else this.#held.push(record);
  }

  #sendRecord(record: OpRecord): void {
    if (record.seq <= this.#sentSeq) return;
    this.#sentSeq = record.seq;
    this.#write(`event: op\nid: ${record.seq}\ndata: ${JSON.stringify(record)}\n\n`);
  }

  #sendGuest(change: GuestChange): void {
    const data =
      change.kind === 'gone' ? JSON.stringify({ vmid: change.vmid, gone: true }) : change.json;
    this.#write(`event: guest\ndata: ${data}\n\n`);
  }

  #sendPass(event: PassEvent): void {
    this.#write(`event: pass\ndata: ${JSON.stringify(event)}\n\n`);
  }

  async #keepAlive(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#parts.ports.clock.sleep(KEEPALIVE_MS, signal);
      this.#write(': still here\n\n');
    }
  }

  #write(text: string): void {
    const { response } = this.#request;
    if (this.#closing.signal.aborted || response.destroyed) return;
    response.write(text);
    if (response.writableLength > UNREAD_BYTES_MAX) response.destroy();
  }
}
