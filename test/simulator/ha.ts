/**
 * The HA manager as its users see it: which guests it manages, what is requested, what it says of
 * them. What it does about it happens in rounds, in ha-crm.ts and ha-lrm.ts (PVE-FACTS 32–42).
 */
import { createHash } from 'node:crypto';
import { internalError } from './api-error.ts';
import { type Guest, haSid } from './guest.ts';
import { runCrmRound } from './ha-crm.ts';
import { Lrm } from './ha-lrm.ts';
import { type LrmResult, newService, newUid, type Service } from './ha-service.ts';
import type { PveNode } from './node.ts';
import { TaskError } from './tasks.ts';

const ROUND_MS = 10_000;
/** From the first resource to the first round. */
const FIRST_ROUND_MS = 3_000;
/** The LRM looks this long after the CRM wrote its decisions. */
const LRM_DELAY_MS = 1_200;

export type Requested = 'started' | 'stopped' | 'enabled' | 'disabled' | 'ignored';

export interface Resource {
  requested: Requested;
  /** max_restart, max_relocate, failback, comment … as set. */
  readonly extra: Map<string, string>;
}

export type Armed =
  | { readonly kind: 'standby' | 'armed' }
  | { readonly kind: 'disarming' | 'disarmed'; readonly mode: 'freeze' | 'ignore' };

export class HaManager {
  readonly node: PveNode;
  readonly resources = new Map<string, Resource>();
  readonly services = new Map<string, Service>();
  readonly results = new Map<string, LrmResult>();
  /** Stop commands wait here for the CRM; a start is written into the resource at once. */
  commands: { readonly sid: string; readonly timeoutS: number }[] = [];
  armed: Armed = { kind: 'standby' };
  /** What arm-ha and disarm-ha asked for, until the next round. */
  wanted: 'arm' | 'freeze' | 'ignore' | null = null;
  isQuorate = true;
  isCrmDown = false;
  /** Seconds; 0 before the first round. */
  lastCrmS = 0;
  /** How often the CRM wrote its status. */
  rounds = 0;
  lastLrmS = 0;
  /** The LRM hears of it at its own next round. */
  isLrmDisarmed = false;
  readonly #lrm: Lrm;
  #isTicking = false;

  constructor(node: PveNode) {
    this.node = node;
    this.#lrm = new Lrm(this);
  }

  /** With freeze too; not with ignore, where plain tasks run. */
  isManaged(sid: string): boolean {
    const resource = this.resources.get(sid);
    return resource !== undefined && resource.requested !== 'ignored' && !this.#isIgnoring();
  }

  #isIgnoring(): boolean {
    const { armed } = this;
    return (armed.kind === 'disarmed' || armed.kind === 'disarming') && armed.mode === 'ignore';
  }

  /** `ha` in status/current. */
  guestState(sid: string): Record<string, unknown> {
    if (!this.isManaged(sid)) return { managed: 0 };
    return { managed: 1, state: this.services.get(sid)?.state ?? null };
  }

  /** `hastate` in /cluster/resources: the configured state until the CRM has one. */
  hastate(sid: string): string | null {
    return this.services.get(sid)?.state ?? this.resources.get(sid)?.requested ?? null;
  }

  /** The effect of a hastart or hastop task: a request, nothing more (PVE-FACTS 32). */
  request(
    guest: Guest,
    action: 'start' | 'stop' | 'shutdown',
    timeoutS: number,
    log: string[],
  ): void {
    const sid = haSid(guest);
    const resource = this.resources.get(sid);
    const command =
      action === 'start'
        ? `ha-manager set ${sid} --state started`
        : `ha-manager crm-command stop ${sid} ${timeoutS}`;
    if (this.services.get(sid)?.state === 'error' || resource === undefined) {
      log.push(inError(sid));
      throw new TaskError(`command '${command}' failed: exit code 255`);
    }
    if (action === 'start') resource.requested = 'started';
    else this.commands.push({ sid, timeoutS });
  }

  addResource(sid: string, requested: Requested, extra: Iterable<[string, string]>): void {
    if (this.resources.has(sid)) {
      throw internalError(`create resource failed: resource ID '${sid}' already defined`);
    }
    this.resources.set(sid, { requested, extra: new Map(extra) });
    this.#startTicking();
  }

  updateResource(
    sid: string,
    requested: Requested | null,
    extra: Iterable<[string, string]>,
  ): void {
    const resource = this.requireResource(sid);
    const isError = this.services.get(sid)?.state === 'error';
    if (isError && requested !== null && requested !== 'disabled')
      throw internalError(inError(sid));
    if (requested !== null) resource.requested = requested;
    for (const [key, value] of extra) resource.extra.set(key, value);
  }

  requireResource(sid: string): Resource {
    const resource = this.resources.get(sid);
    if (resource === undefined) throw internalError(`no such resource '${sid}'`);
    return resource;
  }

  /** The CRM forgets it at its next round; a guest that runs runs on (PVE-FACTS 41). */
  removeResource(sid: string): void {
    if (!this.resources.delete(sid)) {
      throw internalError(`cannot delete service '${sid}', not HA managed!`);
    }
  }

  /** In the order of resources.cfg. */
  sids(): string[] {
    return [...this.resources.keys()].sort((a, b) => vmidOf(a) - vmidOf(b));
  }

  /** SHA-1 of resources.cfg. */
  digest(): string {
    const sections = this.sids().map((sid) => {
      const resource = this.requireResource(sid);
      const lines = new Map([['state', resource.requested], ...resource.extra]);
      const text = [...lines].map(([key, value]) => `\t${key} ${value}\n`).join('');
      return `${sid.replace(':', ': ')}\n${text}\n`;
    });
    return createHash('sha1').update(sections.join('')).digest('hex');
  }

  /** From outside: put a service into any state, until the next decision about it. */
  forceState(sid: string, state: string): void {
    const service = this.services.get(sid) ?? newService(state);
    this.services.set(sid, { ...service, state, uid: newUid() });
  }

  #startTicking(): void {
    if (this.#isTicking) return;
    this.#isTicking = true;
    void this.#tick(FIRST_ROUND_MS);
  }

  async #tick(firstMs: number): Promise<void> {
    const { clock } = this.node;
    await clock.sleep(firstMs);
    for (;;) {
      runCrmRound(this);
      this.node.onChange();
      await clock.sleep(LRM_DELAY_MS);
      this.#lrm.runRound();
      await clock.sleep(ROUND_MS - LRM_DELAY_MS);
    }
  }
}

function inError(sid: string): string {
  return `service '${sid}' in error state, must be disabled and fixed first`;
}

function vmidOf(sid: string): number {
  return Number(sid.split(':')[1]);
}
