/**
 * The HA manager of the model node: a round every ten seconds, work a moment later. A request only
 * changes what the manager is to reach; it may lose it, and drops it while disarmed (PVE-FACTS 32
 * to 40). Its own work is done by tasks of root@pam.
 */
import type { VirtualClock } from '../virtual-clock.ts';
import type { ModelGuest } from './guest.ts';
import type { PowerWork } from './power.ts';
import type { ModelTasks } from './tasks.ts';

const ROUND_MS = 10_000;
/** When the first round is, so that requests fall between rounds. */
const FIRST_ROUND_MS = 3_000;
const LRM_DELAY_MS = 1_500;
const STARTS_BEFORE_ERROR = 4;
const MANAGER = 'root@pam';

interface Service {
  readonly guest: ModelGuest;
  wish: 'started' | 'stopped';
  /** How the next stop is done. */
  stop: { isHard: boolean; timeoutMs: number };
  failedStarts: number;
  isAtWork: boolean;
}

export class ModelHa {
  readonly #clock: VirtualClock;
  readonly #tasks: ModelTasks;
  readonly #power: PowerWork;
  readonly #end = new AbortController();
  readonly #services = new Map<number, Service>();
  isDisarmed = false;
  /** The next requests are accepted, and nothing comes of them. */
  losesNext = 0;

  constructor(clock: VirtualClock, tasks: ModelTasks, power: PowerWork) {
    this.#clock = clock;
    this.#tasks = tasks;
    this.#power = power;
  }

  manage(guest: ModelGuest, state: string | null): void {
    guest.haState = state;
    this.#services.set(guest.vmid, {
      guest,
      wish: guest.power === 'running' ? 'started' : 'stopped',
      stop: { isHard: true, timeoutMs: 0 },
      failedStarts: 0,
      isAtWork: false,
    });
    if (this.#services.size === 1) void this.#run();
  }

  /** No more rounds: the test is over. */
  end(): void {
    this.#end.abort();
  }

  /** What `hastart` and `hastop` do; the text of a failure, or null. */
  request(
    guest: ModelGuest,
    wish: 'started' | 'stopped',
    stop = { isHard: true, timeoutMs: 0 },
  ): string | null {
    const service = this.#services.get(guest.vmid);
    if (service === undefined) return 'not HA managed!';
    if (guest.haState === 'error') {
      return `command 'ha-manager set vm:${guest.vmid} --state ${wish}' failed: exit code 255`;
    }
    if (this.losesNext > 0) {
      this.losesNext -= 1;
      return null;
    }
    if (this.isDisarmed || guest.haState === 'freeze') return null;
    service.wish = wish;
    service.stop = stop;
    return null;
  }

  async #run(): Promise<void> {
    const { signal } = this.#end;
    const firstMs = ROUND_MS - ((this.#clock.elapsedMs + ROUND_MS - FIRST_ROUND_MS) % ROUND_MS);
    await this.#clock.sleep(firstMs, signal);
    while (this.#services.size > 0 && !signal.aborted) {
      if (!this.isDisarmed) for (const service of this.#services.values()) this.#round(service);
      await this.#clock.sleep(ROUND_MS, signal);
    }
  }

  /** One service in one round of the manager: a state at most changes once. */
  #round(service: Service): void {
    const { guest } = service;
    if (service.isAtWork) return;
    switch (guest.haState) {
      case null:
        guest.haState = service.wish;
        return;
      case 'started':
        if (service.wish === 'stopped') {
          guest.haState = 'request_stop';
          this.#work(service, () => this.#stop(service));
        } else if (guest.power === 'stopped') this.#tryStart(service);
        return;
      case 'request_stop':
        guest.haState = guest.power === 'stopped' ? 'stopped' : 'error';
        return;
      case 'stopped':
        if (service.wish !== 'started') return;
        guest.haState = 'started';
        this.#tryStart(service);
        return;
      default:
        return;
    }
  }

  #tryStart(service: Service): void {
    if (service.failedStarts >= STARTS_BEFORE_ERROR) {
      service.guest.haState = 'error';
      service.failedStarts = 0;
      return;
    }
    this.#work(service, async () => {
      const exitStatus = await this.#asTask(service.guest, 'start', (signal) =>
        this.#power.start(service.guest, signal),
      );
      service.failedStarts = exitStatus === 'OK' ? 0 : service.failedStarts + 1;
    });
  }

  async #stop({ guest, stop }: Service): Promise<void> {
    // A VM is cut off at the timeout whatever was asked; a container never is (PVE-FACTS 35).
    const isForced = guest.kind === 'qemu';
    await this.#asTask(guest, stop.isHard ? 'stop' : 'shutdown', (signal) =>
      stop.isHard
        ? this.#power.stop(guest, signal)
        : this.#power.shutdown(guest, { timeoutMs: stop.timeoutMs, isForced }, signal),
    );
  }

  #work(service: Service, job: () => Promise<void>): void {
    service.isAtWork = true;
    const run = async (): Promise<void> => {
      await this.#clock.sleep(LRM_DELAY_MS, this.#tasks.signal);
      await job();
      service.isAtWork = false;
    };
    void run();
  }

  #asTask(
    guest: ModelGuest,
    action: string,
    work: (signal: AbortSignal) => Promise<string>,
  ): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>();
    const type = `${guest.kind === 'qemu' ? 'qm' : 'vz'}${action}`;
    this.#tasks.spawn(type, guest.vmid, MANAGER, async (signal) => {
      const exitStatus = await work(signal).catch(() => 'unexpected status');
      resolve(exitStatus);
      return exitStatus;
    });
    return promise;
  }
}
