/**
 * Ops under way, as somebody watches them: on a terminal a line each that is drawn again and
 * again until the op has ended, else a line per step.
 */
import type { Clock } from '../../reconcile/clock.ts';
import type { OpId, Vmid } from '../../reconcile/ids.ts';
import { isTerminal, type OpRecord } from '../../reconcile/op.ts';
import type { WaitDocument } from '../control/op-document.ts';
import { LOG_INTERVAL_MS } from '../daemon/task-log.ts';
import {
  actionText,
  atMs,
  beginningOf,
  durationText,
  recordText,
  STATE_COLOURS,
} from './op-text.ts';
import { createProgress } from './progress.ts';
import { cut } from './table.ts';
import { type Channel, printable } from './terminal.ts';
import { WaitNews } from './wait-news.ts';

export interface OpView {
  record(record: OpRecord): void;
  /** Why the guest's op waits; null: it goes on. */
  wait(vmid: Vmid, wait: WaitDocument | null): void;
  /** A line about no single op. */
  note(text: string): void;
  /** Leaves what is drawn as it is. */
  close(): void;
}

export interface OpViewOptions {
  readonly err: Channel;
  readonly clock: Clock;
  readonly nameOf: (vmid: Vmid) => string | null;
  /** The last line of the log of the task that runs; asked for on a terminal only. */
  readonly lastLine: (record: OpRecord) => Promise<string | null>;
}

export function createOpView(options: OpViewOptions): OpView {
  return options.err.isTerminal ? new LiveView(options) : createLineView(options);
}

function createLineView({ err, nameOf }: OpViewOptions): OpView {
  const progress = createProgress(err, nameOf);
  const waits = new WaitNews();
  return {
    record(record) {
      waits.noteStep(record.vmid);
      progress.record(record);
    },
    wait(vmid, wait) {
      // That a task runs is in the op's records already.
      if (wait === null || wait.code === 'task_running') return;
      if (waits.isNew(vmid, wait)) progress.waiting(vmid, wait);
    },
    note: (text) => err.line(text),
    close: () => undefined,
  };
}

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAME_MS = 120;
/** A terminal that says it has no columns at all is asked for some all the same. */
const ROOM_MIN = 24;
/** Below the ops: the line that says how many more there are, and the cursor's own. */
const ROWS_KEPT = 2;
const STATE_CHARS = 'task_running'.length;
const TOOK_CHARS = ' 12 m 03 s'.length;

interface Line {
  record: OpRecord;
  /** Null: it began before we looked. */
  readonly startMs: number | null;
  /** Its first record says how; later ones need not. */
  readonly does: string;
  wait: WaitDocument | null;
  logLine: string | null;
}

class LiveView implements OpView {
  readonly #options: OpViewOptions;
  /** Ops under way: what has ended is printed once, above them. */
  readonly #lines = new Map<OpId, Line>();
  readonly #closing = new AbortController();
  #drawn = 0;
  #frame = 0;

  constructor(options: OpViewOptions) {
    this.#options = options;
    void this.#spin();
    void this.#readLogs();
  }

  record(record: OpRecord): void {
    const known = this.#lines.get(record.op_id);
    const startMs = known === undefined ? beginningOf(record) : known.startMs;
    const does = known?.does ?? actionText(record);
    const line: Line = { record, startMs, does, wait: null, logLine: null };
    if (!isTerminal(record.state)) {
      this.#lines.set(record.op_id, line);
      this.#draw();
      return;
    }
    this.#lines.delete(record.op_id);
    this.#draw([this.#text(line)]);
  }

  wait(vmid: Vmid, wait: WaitDocument | null): void {
    const line = [...this.#lines.values()].find((each) => each.record.vmid === vmid);
    if (line === undefined) return;
    line.wait = wait;
    this.#draw();
  }

  note(text: string): void {
    this.#draw([text]);
  }

  close(): void {
    this.#draw();
    this.#closing.abort();
  }

  async #spin(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#options.clock.sleep(FRAME_MS, signal);
      this.#frame += 1;
      if (!signal.aborted) this.#draw();
    }
  }

  async #readLogs(): Promise<void> {
    const { signal } = this.#closing;
    const { clock, lastLine } = this.#options;
    while (!signal.aborted) {
      await clock.sleep(LOG_INTERVAL_MS, signal);
      const running = [...this.#lines.values()].filter(
        ({ record }) => record.state === 'task_running',
      );
      for (const line of running) line.logLine = await lastLine(line.record);
    }
  }

  /** The ops under way, again; `above` them what stays. */
  #draw(above: readonly string[] = []): void {
    const { err } = this.#options;
    const room = Math.max(1, err.rows - ROWS_KEPT);
    const lines = [...this.#lines.values()];
    const shown = lines.slice(0, room).map((line) => this.#text(line));
    if (lines.length > room) shown.push(`  and ${lines.length - room} more`);
    if (this.#drawn + shown.length + above.length === 0) return;
    // Back up over what was drawn, and everything below it gone.
    const back = this.#drawn === 0 ? '' : `\u001B[${this.#drawn}A\r\u001B[J`;
    this.#drawn = shown.length;
    err.text(back + [...above, ...shown].map((line) => `${line}\n`).join(''));
  }

  #text({ record, startMs, does, wait, logLine }: Line): string {
    const { err, clock, nameOf } = this.#options;
    const { state, vmid } = record;
    const isOver = isTerminal(state);
    const name = nameOf(vmid);
    const guest = name === null ? `${vmid}` : `${vmid} ${printable(name)}`;
    const nowMs = isOver ? atMs(record) : clock.now();
    const took = startMs === null ? '' : durationText(nowMs - startMs);
    const said = logLine ?? wait?.message;
    const why = said === undefined || isOver ? recordText(record) : printable(said);
    const end = state === 'succeeded' ? '✓' : '✗';
    const sign = isOver ? end : (FRAMES[this.#frame % FRAMES.length] ?? '');
    const head = `${sign} ${state.padEnd(STATE_CHARS)}`;
    const rest = `${took.padStart(TOOK_CHARS)}  ${guest}  ${does}${why === '' ? '' : `  ${why}`}`;
    return (
      err.paint(STATE_COLOURS[state], head) +
      cut(rest, Math.max(ROOM_MIN, err.columns - head.length - 1))
    );
  }
}
