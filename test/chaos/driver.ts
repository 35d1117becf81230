/** Makes the events of a script happen, and keeps what was asked and what was wanted. */
import { setTimeout as delay } from 'node:timers/promises';
import { bytesOf, signBody } from '../agent/hub/signing.ts';
import { answerOf, askAgent } from './agent-client.ts';
import type { Ask, Interval, Wishes } from './evidence.ts';
import type { ChaosEvent, Script } from './script.ts';
import { AGENT_ID, type Stage } from './stage.ts';

/** How long a moment is waited for: the agent is killed anyway, one that is not up is let be. */
const MOMENT_MS = 4_000;
const HUB_LIFETIME_MS = 30 * 60_000;
const HOLD_TAG = 'reconcile-hold';

type Of<Kind extends ChaosEvent['kind']> = Extract<ChaosEvent, { kind: Kind }>;

export class Driver {
  readonly asks: Ask[] = [];
  readonly wishes: { atMs: number; wishes: Wishes }[] = [];
  readonly slow: Interval[] = [];
  readonly clockMovedMs: number[] = [];
  readonly done = new Map<string, number>();
  readonly skipped = new Map<string, number>();
  readonly #stage: Stage;
  #wished: Wishes;

  constructor(stage: Stage, script: Script) {
    this.#stage = stage;
    this.#wished = script.wishes;
    this.wishes.push({ atMs: Date.now(), wishes: script.wishes });
  }

  get wished(): Wishes {
    return this.#wished;
  }

  /** Resolves when it is over, and what it broke is mended. */
  async perform(event: ChaosEvent, signal: AbortSignal): Promise<void> {
    const isDone = await this.#perform(event, signal);
    const counts = isDone ? this.done : this.skipped;
    counts.set(event.kind, (counts.get(event.kind) ?? 0) + 1);
  }

  async #perform(event: ChaosEvent, signal: AbortSignal): Promise<boolean> {
    const { agent, node, proxy, disk, clock } = this.#stage;
    switch (event.kind) {
      case 'kill':
        return this.#kill(event, signal);
      case 'terminate':
        return (await agent.isSteadyWithin(MOMENT_MS)) && agent.terminate();
      case 'pause_process':
        return agent.pause(event.forMs);
      case 'take_over':
        return (await agent.isSteadyWithin(MOMENT_MS)) && agent.takeOver();
      case 'fill_disk':
        if (disk === null || !(await agent.isSteadyWithin(MOMENT_MS))) return false;
        agent.burden('full_disk');
        disk.fill();
        await delay(event.forMs);
        disk.free();
        agent.relieve('full_disk');
        return true;
      case 'move_clock':
        if (clock === null) return false;
        clock.move(event.offsetS);
        this.clockMovedMs.push(Date.now(), Date.now() + 2_000);
        return true;
      case 'cut':
        proxy.cut(event.after);
        return true;
      case 'net_down':
        return this.#slowly(
          event.forMs,
          () => proxy.goDown(event.how),
          () => proxy.comeUp(),
        );
      case 'net_slow':
        return this.#slowly(
          event.forMs + 2 * event.delayMs,
          () => proxy.slowDown(event.delayMs),
          () => proxy.slowDown(0),
        );
      case 'node_fault':
        await node.control('POST', '/faults', event.fault);
        return true;
      case 'daemon': {
        const [on, off] =
          event.state === 'down' ? [{ down: true }, { down: false }] : [{ stuck: 3 }, { stuck: 0 }];
        await node.control('POST', '/daemon', on);
        await delay(event.forMs);
        await node.control('POST', '/daemon', off);
        return true;
      }
      case 'restart_node':
        await node.control('POST', '/restart', { forget_tasks: event.isForgetting });
        return true;
      case 'reboot_node':
        await node.control('POST', '/reboot', { down_ms: event.downMs });
        return true;
      default:
        return this.#performByPeople(event, signal);
    }
  }

  async #performByPeople(
    event: Exclude<ChaosEvent, Of<FaultKind>>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { node } = this.#stage;
    switch (event.kind) {
      case 'person':
        return this.#person(event);
      case 'edit':
        await this.#patch(event.vmid, { set: { [event.key]: event.value } });
        return true;
      case 'lock':
        await this.#patch(event.vmid, { lock: 'backup' });
        await delay(event.forMs);
        await this.#patch(event.vmid, { lock: null });
        return true;
      case 'tag_held':
        await this.#patch(event.vmid, { set: { tags: HOLD_TAG } });
        await delay(event.forMs);
        await this.#patch(event.vmid, { delete: ['tags'] });
        return true;
      case 'stranger': {
        const type = event.vmid < 200 ? 'qmsnapshot' : 'vzsnapshot';
        const task = { type, id: String(event.vmid), duration_ms: event.forMs * 4 };
        await node.control('POST', '/tasks', { ...task, holds_lock: true });
        return true;
      }
      case 'desire':
        this.#wished = { ...this.#wished, [event.vmid]: event.wish };
        this.wishes.push({ atMs: Date.now(), wishes: this.#wished });
        this.#stage.writeDesired(this.#wished);
        return true;
      case 'operator':
        return this.#operator(event);
      case 'hub':
        return this.#hub(event, signal);
      case 'cancel':
        return this.#cancel(event.vmid);
      case 'hold':
        return this.#ask(
          `/v1/guests/${event.vmid}/hold`,
          event.forText === null ? {} : { for: event.forText },
        );
      case 'resume':
        return this.#ask(`/v1/guests/${event.vmid}/resume`);
      case 'pause':
        return this.#ask('/v1/pause', { for: event.forText });
      default:
        return unknownEvent(event);
    }
  }

  async #kill({ at, afterMs }: Of<'kill'>, signal: AbortSignal): Promise<boolean> {
    const { journal, agent } = this.#stage;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(MOMENT_MS)]);
    if (at !== 'now') {
      if (!(await agent.isSteadyWithin(MOMENT_MS))) return false;
      await journal.appended(`"state":"${at}"`, limit);
    }
    // Timers count in milliseconds, and nothing is between a record and what follows it.
    if (afterMs > 0) await delay(afterMs);
    return agent.kill();
  }

  async #slowly(forMs: number, begin: () => void, end: () => void): Promise<boolean> {
    const fromMs = Date.now();
    begin();
    await delay(forMs);
    end();
    this.slow.push({ fromMs, toMs: Date.now() + 1_000 });
    return true;
  }

  async #patch(vmid: number, change: object): Promise<void> {
    await this.#stage.node.control('PATCH', `/guests/${vmid}`, change);
  }

  async #person({ vmid, does }: Of<'person'>): Promise<boolean> {
    const { node } = this.#stage;
    if (does === 'power_off') {
      await this.#patch(vmid, { running: false });
      return true;
    }
    const kind = vmid < 200 ? 'qemu' : 'lxc';
    const path = `/nodes/${node.node}/${kind}/${vmid}/status/${does}`;
    await node.control('POST', '/somebody', { user: 'alice@pam', method: 'POST', path });
    return true;
  }

  async #ask(path: string, body?: unknown): Promise<boolean> {
    const reply = await askAgent(this.#stage.socket, 'POST', path, body);
    return reply !== null && reply.status < 300;
  }

  async #operator({ vmid, action, params, hold }: Of<'operator'>): Promise<boolean> {
    const atMs = Date.now();
    const body = { params, actor: 'chaos', ...(hold === undefined ? {} : { hold }) };
    const path = `/v1/guests/${vmid}/${action}`;
    const answer = answerOf(await askAgent(this.#stage.socket, 'POST', path, body));
    this.asks.push({ atMs, origin: 'operator', vmid, kind: action, params, key: null, answer });
    return answer.kind === 'taken';
  }

  /** The same envelope again and again. */
  async #hub(event: Of<'hub'>, signal: AbortSignal): Promise<boolean> {
    const { key, vmid, action, params, hold, againMs } = event;
    const nowMs = Date.now();
    const payload = {
      idemp_key: key,
      agent: AGENT_ID,
      issued_at: new Date(nowMs).toISOString(),
      expires_at: new Date(nowMs + HUB_LIFETIME_MS).toISOString(),
      kind: action,
      vmid,
      params,
      ...(hold === undefined ? {} : { hold }),
    };
    const envelope = signBody(bytesOf(payload), this.#stage.keys);
    const send = async (): Promise<boolean> => {
      const atMs = Date.now();
      const reply = await askAgent(this.#stage.socket, 'POST', '/v1/ops', envelope);
      const answer = answerOf(reply);
      this.asks.push({ atMs, origin: 'hub', vmid, kind: action, params, key, answer });
      return answer.kind === 'taken';
    };
    // The first two at once: which of them is first is nobody's to say.
    const sent = [send()];
    for (const pauseMs of againMs) {
      if (pauseMs > 0) await delay(pauseMs);
      if (signal.aborted) break;
      sent.push(send());
    }
    return (await Promise.all(sent)).some((isTaken) => isTaken);
  }

  async #cancel(vmid: number): Promise<boolean> {
    const { socket } = this.#stage;
    const list = await askAgent(socket, 'GET', `/v1/ops?state=in_flight&vmid=${vmid}`);
    const ops = list?.body['ops'] as { op_id: string }[] | undefined;
    const [first] = ops ?? [];
    return first !== undefined && this.#ask(`/v1/ops/${first.op_id}/cancel`);
  }
}

type FaultKind =
  | 'kill'
  | 'terminate'
  | 'pause_process'
  | 'take_over'
  | 'fill_disk'
  | 'move_clock'
  | 'cut'
  | 'net_down'
  | 'net_slow'
  | 'node_fault'
  | 'daemon'
  | 'restart_node'
  | 'reboot_node';

function unknownEvent(event: never): never {
  throw new Error(`no such event: ${JSON.stringify(event)}`);
}
