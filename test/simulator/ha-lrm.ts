/**
 * One round of the local resource manager: it starts, stops and shuts down guests as root@pam, one
 * worker per service, and reports under the uid it worked for (PVE-FACTS 32, 35, 37).
 */
import { type Guest, haSid, taskPrefix } from './guest.ts';
import type { HaManager } from './ha.ts';
import type { Service } from './ha-service.ts';
import { shutdownWork, startWork, stopWork } from './power.ts';
import { ROOT } from './principal.ts';
import type { TaskWork } from './tasks.ts';

const DEFAULT_MAX_RESTART = 1;
const DEFAULT_SHUTDOWN_S = 60;

export class Lrm {
  readonly #ha: HaManager;
  readonly #busy = new Set<string>();
  /** Starts that failed in a row, per service. */
  readonly #failedStarts = new Map<string, number>();

  constructor(ha: HaManager) {
    this.#ha = ha;
  }

  runRound(): void {
    const ha = this.#ha;
    ha.lastLrmS = ha.node.clock.nowS();
    ha.isLrmDisarmed = 'mode' in ha.armed;
    if (ha.armed.kind !== 'armed') return;
    for (const [sid, service] of ha.services) {
      const guest = ha.node.allGuests().find((candidate) => haSid(candidate) === sid);
      if (guest === undefined || this.#busy.has(sid)) continue;
      this.#serve(sid, service, guest);
    }
    this.#forgetOldResults();
  }

  #serve(sid: string, service: Service, guest: Guest): void {
    const isRunning = guest.run.kind === 'running';
    if (service.state === 'started' && !isRunning) void this.#start(sid, service, guest);
    else if (service.state === 'request_stop' && isRunning) void this.#stop(sid, service, guest);
    else {
      // Something else started it: it is shut down again (transcript ha_disarm).
      if (service.state === 'stopped' && isRunning) void this.#stop(sid, service, guest);
      this.#report(sid, service, 0);
    }
  }

  async #start(sid: string, service: Service, guest: Guest): Promise<void> {
    const { node, resources } = this.#ha;
    const type = `${taskPrefix(guest.kind)}start`;
    const status = await this.#run(sid, type, startWork(node, guest.kind, guest.vmid));
    if (isGood(status)) {
      this.#failedStarts.delete(sid);
      this.#report(sid, service, 0);
      return;
    }
    // The next round tries again; only then is it reported.
    const failed = (this.#failedStarts.get(sid) ?? 0) + 1;
    this.#failedStarts.set(sid, failed);
    const maxRestart = Number(resources.get(sid)?.extra.get('max_restart') ?? DEFAULT_MAX_RESTART);
    if (failed <= maxRestart) return;
    this.#failedStarts.delete(sid);
    this.#report(sid, service, 1);
  }

  /** A VM is killed at the timeout whatever was asked for; a container never is. */
  async #stop(sid: string, service: Service, guest: Guest): Promise<void> {
    const { node } = this.#ha;
    const { kind, vmid } = guest;
    const prefix = taskPrefix(kind);
    const timeoutS = Number(service.timeout ?? DEFAULT_SHUTDOWN_S);
    const status =
      timeoutS === 0
        ? await this.#run(sid, `${prefix}stop`, stopWork(node, kind, vmid))
        : await this.#run(
            sid,
            `${prefix}shutdown`,
            shutdownWork(node, kind, vmid, { timeoutS, isForced: kind === 'qemu' }),
          );
    this.#report(sid, service, isGood(status) ? 0 : 1);
  }

  async #run(sid: string, type: string, work: TaskWork): Promise<string> {
    this.#busy.add(sid);
    try {
      const vmid = sid.split(':')[1] ?? '';
      return await this.#ha.node.tasks.start(type, vmid, ROOT, work).done;
    } finally {
      this.#busy.delete(sid);
    }
  }

  #report(sid: string, service: Service, exitCode: number): void {
    this.#ha.results.set(service.uid, { sid, state: service.state, exitCode });
  }

  #forgetOldResults(): void {
    const { results, services } = this.#ha;
    for (const [uid, { sid }] of results) {
      const current = services.get(sid)?.uid;
      const hasNewer = current !== undefined && uid !== current && results.has(current);
      if (current === undefined || hasNewer) results.delete(uid);
    }
  }
}

function isGood(status: string): boolean {
  return status === 'OK' || status.startsWith('WARNINGS: ');
}
