/**
 * Ops under way, as somebody watches them: on a terminal a line each that is drawn again and
 * again, else a line per step.
 */
import type { Clock } from '../reconcile/clock.ts';
import type { Vmid } from '../reconcile/ids.ts';
import { isTerminal, type OpRecord } from '../reconcile/op.ts';
import type { WaitDocument } from './control/op-document.ts';
import { actionText, atMs, durationText, recordText, STATE_COLOURS } from './op-text.ts';
import { createProgress } from './progress.ts';
import { cut } from './table.ts';
import { type Channel, printable } from './terminal.ts';

export interface OpView {
  record(record: OpRecord): void;
  /** Why the guest's op waits; null: it goes on. */
  wait(vmid: Vmid, wait: WaitDocument | null): void;
  /** Leaves what is drawn as it is. */
  close(): void;
}

export interface OpViewOptions {
  readonly err: Channel;
  readonly clock: Clock;
  readonly nameOf: (vmid: Vmid) => string | null;
}

export function createOpView(options: OpViewOptions): OpView {
  return options.err.isTerminal ? new LiveView(options) : createLineView(options);
}

function createLineView({ err, nameOf }: OpViewOptions): OpView {
  const progress = createProgress(err, nameOf);
  const shown = new Map<Vmid, string>();
  return {
    record: (record) => progress({ kind: 'op', record }),
    wait(vmid, wait) {
      const text = wait === null ? '' : `${wait.code} ${wait.message}`;
      if (shown.get(vmid) === text || (wait === null && !shown.has(vmid))) return;
      shown.set(vmid, text);
      // That a task runs or an op is queued is in its records already.
      if (wait === null || wait.code === 'task_running') return;
      progress({ kind: 'waiting', vmid, wait: { ...wait, untilMs: null } });
    },
    close: () => undefined,
  };
}

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAME_MS = 120;
/** A terminal that says it has no columns at all is asked for some all the same. */
const ROOM_MIN = 24;
const STATE_CHARS = 'task_running'.length;

interface Line {
  record: OpRecord;
  readonly startMs: number;
  wait: WaitDocument | null;
}

class LiveView implements OpView {
  readonly #options: OpViewOptions;
  readonly #lines = new Map<string, Line>();
  readonly #closing = new AbortController();
  #drawn = 0;
  #frame = 0;

  constructor(options: OpViewOptions) {
    this.#options = options;
    void this.#spin();
  }

  record(record: OpRecord): void {
    const known = this.#lines.get(record.op_id);
    const startMs = known?.startMs ?? atMs(record);
    this.#lines.set(record.op_id, { record, startMs, wait: null });
    this.#draw();
  }

  wait(vmid: Vmid, wait: WaitDocument | null): void {
    const lines = [...this.#lines.values()];
    const line = lines.find((each) => each.record.vmid === vmid && !isTerminal(each.record.state));
    if (line === undefined) return;
    line.wait = wait;
    this.#draw();
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

  #draw(): void {
    const { err } = this.#options;
    const lines = [...this.#lines.values()].map((line) => this.#text(line));
    if (lines.length === 0) return;
    // Back up over what was drawn, and everything below it gone.
    const back = this.#drawn === 0 ? '' : `\u001B[${this.#drawn}A\r\u001B[J`;
    this.#drawn = lines.length;
    err.line(back + lines.join('\n'));
  }

  #text({ record, startMs, wait }: Line): string {
    const { err, clock, nameOf } = this.#options;
    const { state, vmid } = record;
    const isOver = isTerminal(state);
    const name = nameOf(vmid);
    const guest = name === null ? `${vmid}` : `${vmid} ${printable(name)}`;
    const took = durationText((isOver ? atMs(record) : clock.now()) - startMs);
    const why = wait === null || isOver ? recordText(record) : printable(wait.message);
    const sign = isOver
      ? state === 'succeeded'
        ? '✓'
        : '✗'
      : (FRAMES[this.#frame % FRAMES.length] ?? '');
    const head = `${sign} ${state.padEnd(STATE_CHARS)}`;
    const rest = `  ${guest}  ${actionText(record)}  ${took}${why === '' ? '' : `  ${why}`}`;
    return (
      err.paint(STATE_COLOURS[state], head) +
      cut(rest, Math.max(ROOM_MIN, err.columns - head.length - 1))
    );
  }
}
