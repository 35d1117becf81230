/**
 * `GET /v1/events`: server-sent events `op` (a journal record; its id is the record's seq),
 * `guest` (a guest as `/v1/guests` shows it) and `pass`. A reader that comes back with
 * `Last-Event-ID` is given the records it has missed; every reader begins with all guests, so that
 * nothing has to be asked for beside the stream.
 *
 * Invariants: records come in the order of their seq, each once; a pass is told of after all guests
 * of the beginning; what was missed, and guests at any time, go out as they are read: who is slow
 * skips what a guest was meanwhile. A reader that does not keep up with records and passes is cut
 * off (it resumes): it never makes the agent hold what it has not read.
 */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import type { OpRecord } from '../../reconcile/op.ts';
import type { GuestFeed } from './guest-feed.ts';
import type { PassEvent, PassRunner } from './pass-runner.ts';
import type { ControlPorts } from './ports.ts';
import type { ReadingTurns } from './reading-turns.ts';
import { findRecordsSince } from './records-since.ts';

export const EVENT_TYPES = ['op', 'guest', 'pass'] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/** Pages and commands of a few people; a script that leaks streams is told so. */
const STREAMS_MAX = 64;
/** Proxies and the page take a minute of silence for a lost connection. */
const KEEPALIVE_MS = 15_000;
/** How soon a reader that lost the connection comes back. */
const RETRY_MS = 1_000;
/** Of all streams; who is further behind than its share is cut off. 10,000 guests are 10 MB. */
const UNREAD_BYTES_MAX = 32 * 1024 * 1024;
/** Records, and passes, that may come while a reader is given what there is at the beginning. */
const HELD_MAX = 10_000;

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
  readonly turns: ReadingTurns;
}

/** The streams of one listener. */
export function createEventStreams(parts: StreamPorts): EventStreams {
  const open = new Map<Socket, Stream>();
  const share = (): number => UNREAD_BYTES_MAX / open.size;
  return {
    get isFull() {
      return open.size >= STREAMS_MAX;
    },
    open(request) {
      const { response } = request;
      const { socket } = response.req;
      // Behind a stream nothing on its connection is ever answered.
      if (open.has(socket)) {
        socket.destroy();
        return;
      }
      const stream = new Stream(request, { ...parts, share });
      open.set(socket, stream);
      const end = (): void => {
        if (open.get(socket) === stream) open.delete(socket);
        stream.close();
      };
      response.once('close', end);
      // An answer whose turn has not come is not told that its connection is gone.
      socket.once('close', end);
      stream.begin();
    },
    close() {
      for (const stream of open.values()) stream.close();
    },
  };
}

type StreamParts = StreamPorts & {
  /** How much of a stream may be unread. */
  readonly share: () => number;
};

class Stream {
  readonly #request: StreamRequest;
  readonly #parts: StreamParts;
  readonly #closing = new AbortController();
  readonly #unsubscribe: (() => void)[] = [];
  /** Records that came while the missed ones were read; null: they go out at once. */
  #held: OpRecord[] | null = [];
  /** The last pass, and those that came before all guests were told of; null: they go out at once. */
  #passes: PassEvent[] | null;
  /** Guests to be told of, as each is when its turn comes. */
  readonly #dirty = new Set<Vmid>();
  #isTellingGuests = false;
  #sentSeq: number;
  /** It has seen records that are not in this journal: the state folder is another, or an older one. */
  readonly #isAhead: boolean;

  constructor(request: StreamRequest, parts: StreamParts) {
    this.#request = request;
    this.#parts = parts;
    const { lastPass } = parts.passes;
    this.#passes = lastPass === null ? [] : [lastPass];
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
    if (types.has('pass')) {
      this.#unsubscribe.push(passes.subscribe((event) => this.#takePass(event)));
    }
    void this.#orClose(this.#catchUp());
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
    const { feed } = this.#parts;
    if (types.has('op')) await this.#sendMissed();
    this.#closing.signal.throwIfAborted();
    if (types.has('guest')) {
      this.#isTellingGuests = true;
      this.#unsubscribe.push(feed.subscribe((vmid) => this.#noteGuest(vmid)));
      await this.#sendGuests(feed.vmids());
    }
    const passes = this.#passes ?? [];
    this.#passes = null;
    if (types.has('pass')) for (const event of passes) this.#sendPass(event);
    if (types.has('guest')) await this.#sendDirty();
  }

  /** What fails ends the stream: the reader comes back and asks again. */
  async #orClose(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      const isForeseen = this.#closing.signal.aborted || error instanceof ReconcilerError;
      if (!isForeseen) this.#parts.ports.reportError(error, 'events');
      this.close();
    }
  }

  async #sendMissed(): Promise<void> {
    const missing = this.#parts.feed.lastSeq - this.#sentSeq;
    if (missing > 0) await this.#sendRecords(missing);
    else if (this.#isAhead) this.#sendReset();
    const held = this.#held ?? [];
    this.#held = null;
    for (const record of held) this.#sendRecord(record);
  }

  /** A turn for each piece: a reader that is slow to read keeps nobody else from reading. */
  async #sendRecords(missing: number): Promise<void> {
    const { turns, ports } = this.#parts;
    const { history, clock } = ports;
    const { signal } = this.#closing;
    const request = { seq: this.#sentSeq, missing, clock, signal };
    const pieces = await turns.wait(() => findRecordsSince(history, request), signal);
    if (pieces === null) return this.#sendReset();
    for (;;) {
      const piece = await turns.wait(() => pieces.next(), signal);
      if (piece.done === true) return;
      for (const record of piece.value) this.#sendRecord(record);
      await this.#drain();
    }
  }

  #noteGuest(vmid: Vmid): void {
    this.#dirty.add(vmid);
    if (!this.#isTellingGuests) void this.#orClose(this.#sendDirty());
  }

  async #sendDirty(): Promise<void> {
    this.#isTellingGuests = true;
    // A Set is gone through as it grows; what comes between its end and ours is seen here.
    while (this.#dirty.size > 0) await this.#sendGuests(this.#dirty);
    this.#isTellingGuests = false;
  }

  async #sendGuests(vmids: Iterable<Vmid>): Promise<void> {
    for (const vmid of vmids) {
      this.#dirty.delete(vmid);
      this.#sendGuest(vmid);
      await this.#drain();
      this.#closing.signal.throwIfAborted();
    }
  }

  /** Until what was written is on its way; one that is not read for long is closed (app.ts). */
  async #drain(): Promise<void> {
    const { response } = this.#request;
    const { signal } = this.#closing;
    if (response.writableNeedDrain) await once(response, 'drain', { signal });
  }

  #takeRecord(record: OpRecord): void {
    if (this.#held === null) this.#sendRecord(record);
    else if (this.#held.push(record) > HELD_MAX) this.#request.response.destroy();
  }

  #takePass(event: PassEvent): void {
    if (this.#passes === null) this.#sendPass(event);
    else if (this.#passes.push(event) > HELD_MAX) this.#request.response.destroy();
  }

  #sendReset(): void {
    this.#write('event: reset\ndata: {}\n\n');
  }

  #sendRecord(record: OpRecord): void {
    if (record.seq <= this.#sentSeq) return;
    this.#sentSeq = record.seq;
    this.#write(`event: op\nid: ${record.seq}\ndata: ${JSON.stringify(record)}\n\n`);
  }

  #sendGuest(vmid: Vmid): void {
    const data = this.#parts.feed.json(vmid) ?? JSON.stringify({ vmid, gone: true });
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
    if (response.writableLength > this.#parts.share()) response.destroy();
  }
}
