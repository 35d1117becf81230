/**
 * Replays one recording against a server in this process, in time that only the replay moves: it
 * moves while a request waits, while a task is polled to its end, and along a recorded timeline.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Api } from './api.ts';
import { ManualTicker, turn } from './manual-ticker.ts';
import type { PveNode } from './node.ts';
import { type Got, ReplayClient } from './replay-client.ts';
import { compareAnswer, type Leniency } from './replay-compare.ts';
import type { Plan } from './replay-plans.ts';
import { followReboot, followTimeline } from './replay-timeline.ts';
import { type Exchange, isExchange, type Step, type Transcript } from './replay-transcript.ts';
import type { LoggedRequest } from './request-log.ts';
import { startServer } from './server.ts';
import { worldSchema } from './world.ts';

/** No recorded wait is longer, in virtual time. */
const PATIENCE_MS = 200_000;
/** Between two polls of a task. */
const POLL_MS = 100;
/** Turns of the event loop without progress before time moves on for a waiting request. */
const PATIENT_TURNS = 4;

export class Replay {
  readonly node: PveNode;
  readonly ticker: ManualTicker;
  /** Recorded UPID → the one here. */
  readonly upids = new Map<string, string>();
  readonly differences: string[] = [];
  /** Virtual time of the last POST, PUT or DELETE: a timeline's zero. */
  lastWriteMs = 0;
  /** The guest it was about. */
  lastVmid = 0;
  readonly #api: Api;
  readonly #client: ReplayClient;
  readonly #sceneS: number;
  readonly #close: () => Promise<void>;

  private constructor(parts: {
    api: Api;
    ticker: ManualTicker;
    client: ReplayClient;
    close: () => Promise<void>;
    sceneS: number;
  }) {
    this.#api = parts.api;
    this.node = parts.api.node;
    this.ticker = parts.ticker;
    this.#client = parts.client;
    this.#close = parts.close;
    this.#sceneS = parts.sceneS;
  }

  static async open(transcript: Transcript, plan: Plan): Promise<Replay> {
    const dir = mkdtempSync(join(tmpdir(), 'pve-replay-'));
    const sceneS = startOfScene(transcript);
    const ticker = new ManualTicker(sceneS * 1000 - 60_000);
    const server = await startServer({
      world: worldSchema.parse({ guests: plan.guests }),
      dir,
      port: 0,
      speed: 1,
      ticker,
      lookDir: null,
    });
    const tokenLine = (name: string): string =>
      readFileSync(server.ready.tokens[name] ?? '', 'utf8').trim();
    const client = new ReplayClient(server.ready.url, server.ready.ca_file, tokenLine);
    const close = async (): Promise<void> => {
      client.close();
      await server.close();
      rmSync(dir, { recursive: true });
    };
    const replay = new Replay({ api: server.api, ticker, client, close, sceneS });
    await plan.before?.(replay);
    const remainingMs = sceneS * 1000 + 500 - ticker.nowMs();
    if (remainingMs > 0) await ticker.advance(remainingMs);
    return replay;
  }

  close(): Promise<void> {
    return this.#close();
  }

  async run(transcript: Transcript, plan: Plan): Promise<void> {
    const { steps } = transcript;
    for (let index = 0; index < steps.length; ) {
      await plan.at?.[index]?.(this);
      const step = steps[index] ?? {};
      const isLeftOut = plan.leftOut?.some(({ steps: left }) => left.includes(index)) === true;
      const leniency = this.#leniency(plan, index, step.request?.path);
      if (isLeftOut) index += 1;
      else if (isTaskPoll(step)) index += await this.#pollTask(steps, index, plan);
      else if (isExchange(step)) {
        await this.#exchange(step, index, leniency);
        index += 1;
      } else index += await this.#follow(steps, index);
    }
  }

  #leniency(plan: Plan, index: number, path = ''): Leniency {
    const loose = plan.loose?.find(
      ({ steps }) => steps.includes(index) || steps.includes(path.split('?')[0] ?? ''),
    );
    return {
      keys: new Set(loose?.keys ?? []),
      isShapeOnly: loose !== undefined && loose.keys === undefined,
      vmids: plan.about === undefined ? null : new Set(plan.about),
      sinceS: this.#sceneS,
    };
  }

  async #exchange(step: Exchange, index: number, leniency: Leniency): Promise<void> {
    const { method } = step.request;
    if (method !== 'GET') {
      this.lastWriteMs = this.ticker.nowMs();
      const vmid = /\/(?:qemu|lxc)\/(\d+)|(?:vm|ct):(\d+)/.exec(
        step.request.path + JSON.stringify(step.request.form ?? {}),
      );
      this.lastVmid = Number(vmid?.[1] ?? vmid?.[2] ?? this.lastVmid);
    }
    const got = await this.#send(step);
    this.#note(step, index, compareAnswer(step, got, leniency));
    const recorded = dataOf(step.response.body);
    const here = dataOf(parse(got.text));
    if (typeof recorded === 'string' && typeof here === 'string') this.upids.set(recorded, here);
    if (Array.isArray(recorded) && Array.isArray(here)) this.#pairTasks(recorded, here);
    const isRead = step.read_back !== undefined && !leniency.keys.has('read_back');
    if (isRead && got.status === 200) await this.#readBack(step, index);
  }

  /** Tasks that nobody here asked for are known from lists: by type, guest and user. */
  #pairTasks(recorded: readonly unknown[], here: readonly unknown[]): void {
    for (const upid of recorded.map(upidOf)) {
      if (upid === null || this.upids.has(upid)) continue;
      const known = new Set(this.upids.values());
      const twin = here.map(upidOf).find((other) => {
        return other !== null && !known.has(other) && nameOf(other) === nameOf(upid);
      });
      if (twin !== undefined && twin !== null) this.upids.set(upid, twin);
    }
  }

  #note(step: Exchange, index: number, differences: readonly string[]): void {
    const { method, path } = step.request;
    const where = `step ${index} ${step.auth ?? ''} ${method} ${path}`;
    this.differences.push(...differences.map((difference) => `${where}: ${difference}`));
  }

  /** Moves time on only while the server holds the request without answering. */
  async #send(step: Exchange): Promise<Got> {
    const { log } = this.#api;
    const arrived = new Promise<LoggedRequest>((resolve) => {
      log.onAdd = resolve;
    });
    const answer = this.#client.send(step, this.#translate(step.request.path));
    // Some are refused before they are logged.
    const first = await Promise.race([arrived, answer]);
    for (let turns = 0; isHeld(first); turns += 1) {
      await turn();
      if (turns > PATIENT_TURNS) await this.ticker.advance(20);
    }
    return answer;
  }

  #translate(path: string): string {
    return path.replaceAll(/UPID(?::|%3A)[^/]*/g, (upid) => {
      const plain = decodeURIComponent(upid);
      const here = this.upids.get(plain) ?? plain;
      return upid === plain ? here : encodeURIComponent(here);
    });
  }

  /** Polls of one task: the states in their order, and the last answer as recorded. */
  async #pollTask(steps: readonly Step[], start: number, plan: Plan): Promise<number> {
    const first = steps[start];
    let end = start + 1;
    while (isSamePoll(first, steps[end]) && plan.at?.[end] === undefined) end += 1;
    const last = steps[end - 1];
    const leniency = this.#leniency(plan, end - 1);
    if (!isExchange(last)) return 1;
    const wanted = stateOf(last.response.body);
    const endMs = this.ticker.nowMs() + PATIENCE_MS;
    let got = await this.#send(last);
    for (; this.ticker.nowMs() < endMs; got = await this.#send(last)) {
      if (wanted === 'running' || stateOf(parse(got.text)) !== 'running') break;
      await this.ticker.advance(POLL_MS);
    }
    this.#note(last, end - 1, compareAnswer(last, got, leniency));
    return end - start;
  }

  /** Everything that is no exchange: timelines and notes. */
  async #follow(steps: readonly Step[], start: number): Promise<number> {
    const step = steps[start] ?? {};
    if (step.observed !== undefined) return followTimeline(this, steps, start);
    if (step.k !== undefined) return followReboot(this, steps, start);
    const armed = /^armed-state (\w+) \+([\d.]+)s/.exec(step.note ?? '');
    if (armed !== null) await this.#untilArmed(armed[1] ?? '', Number(armed[2]));
    const seen = /^cluster\/resources says (\w+) ([\d.]+)s/.exec(step.note ?? '');
    if (seen !== null) {
      const dueMs = this.lastWriteMs + Number(seen[2]) * 1000;
      await this.ticker.advance(Math.max(0, dueMs - this.ticker.nowMs()));
    }
    return 1;
  }

  async #untilArmed(wanted: string, recordedS: number): Promise<void> {
    const startMs = this.lastWriteMs;
    const endMs = startMs + PATIENCE_MS;
    while (this.node.ha.armed.kind !== wanted && this.ticker.nowMs() < endMs) {
      await this.ticker.advance(100);
    }
    const hereS = (this.ticker.nowMs() - startMs) / 1000;
    if (Math.abs(hereS - recordedS) > 11) {
      this.differences.push(`${wanted} after ${hereS} s, recorded ${recordedS} s`);
    }
  }

  async #readBack(step: Exchange, index: number): Promise<void> {
    const path = step.request.path;
    const form = Object.keys(step.request.form ?? {});
    const get: Exchange = {
      auth: 'root',
      request: { method: 'GET', path },
      response: step.response,
    };
    const config = dataOf(parse((await this.#send(get)).text));
    if (form.length !== 1 || typeof config !== 'object' || config === null) return;
    const key = form[0] ?? '';
    const recorded = macless(step.read_back?.[key] ?? null);
    const here = macless(Object.entries(config).find(([name]) => name === key)?.[1] ?? null);
    if (recorded === here) return;
    this.#note(step, index, [`read back ${key}: recorded ${recorded}, got ${here}`]);
  }
}

function isHeld(what: LoggedRequest | Got): boolean {
  return 'n' in what && what.ms === null;
}

/** The earliest task that the recording itself started, or its own time. */
function startOfScene(transcript: Transcript): number {
  const started = transcript.steps.flatMap((step) => {
    const data = dataOf(step.response?.body);
    const match = typeof data === 'string' ? /^UPID:\w+:\w+:\w+:(\w+):/.exec(data) : null;
    return match === null ? [] : [parseInt(match[1] ?? '', 16)];
  });
  return Math.min(Math.floor(Date.parse(transcript.recorded) / 1000), ...started);
}

function upidOf(row: unknown): string | null {
  const upid = typeof row === 'object' && row !== null && 'upid' in row ? row.upid : null;
  return typeof upid === 'string' ? upid : null;
}

/** Type, guest and user of a UPID. */
function nameOf(upid: string): string {
  return upid.split(':').slice(5).join(':');
}

function isTaskPoll(step: Step): boolean {
  const path = step.request?.path ?? '';
  return /\/tasks\/UPID[^/]*\/status$/.test(path) && step.response?.status === 200;
}

function isSamePoll(first: Step | undefined, step: Step | undefined): boolean {
  if (step === undefined || !isTaskPoll(step)) return false;
  return step.request?.path === first?.request?.path && step.auth === first?.auth;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function dataOf(body: unknown): unknown {
  return typeof body === 'object' && body !== null && 'data' in body ? body.data : undefined;
}

function stateOf(body: unknown): unknown {
  const data = dataOf(body);
  return typeof data === 'object' && data !== null && 'status' in data ? data.status : undefined;
}

/** MACs that were made up differ, those that were given do not: only Proxmox' range is blanked. */
function macless(value: unknown): string {
  return JSON.stringify(value).replaceAll(/BC:24:11:[0-9A-F:]{8}/g, '(mac)');
}
