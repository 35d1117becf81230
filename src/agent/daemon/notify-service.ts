/**
 * Tells systemd that the agent is up, and from then on that its loop still turns: whether timers
 * run and passes end. A loop that is stuck goes silent, and the watchdog starts the agent again.
 *
 * Node has no datagrams for unix sockets, so systemd-notify(1) sends them (NotifyAccess=all). Where
 * it cannot be run the watchdog does what it is for; that is logged once.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { systemClock } from '../system.ts';
import type { StartService } from './daemon.ts';

const run = promisify(execFile);
/** A sign of life may be late twice. */
const SIGNS_PER_WATCHDOG = 3;
/** A pass waits for answers that may take 30 s each; one that takes this long is stuck. */
const PASS_MAX_MS = 10 * 60_000;
const SEND_TIMEOUT_MS = 10_000;

/** Does nothing where systemd does not ask for it. */
export function createNotifyService(
  env: Readonly<Record<string, string | undefined>>,
): StartService {
  return async ({ events, config, log }) => {
    if ((env['NOTIFY_SOCKET'] ?? '') === '') return { stop: async () => undefined };
    let hasFailed = false;
    const send = async (...args: string[]): Promise<void> => {
      try {
        await run('systemd-notify', args, { timeout: SEND_TIMEOUT_MS });
      } catch (error) {
        if (!hasFailed) log.warn({ error: String(error) }, 'systemd-notify cannot be run');
        hasFailed = true;
      }
    };
    let passedAtMs = systemClock.monotonicMs();
    const unsubscribe = events.subscribe((event) => {
      if (event.kind === 'pass') passedAtMs = systemClock.monotonicMs();
    });
    const patienceMs = PASS_MAX_MS + config.policy.intervalMs;
    const watchdogMs = Number(env['WATCHDOG_USEC'] ?? 0) / 1000;
    const timer =
      watchdogMs > 0
        ? setInterval(() => {
            if (systemClock.monotonicMs() - passedAtMs < patienceMs) void send('WATCHDOG=1');
          }, watchdogMs / SIGNS_PER_WATCHDOG)
        : undefined;
    await send('--ready', `--status=agent ${config.agent} is up`);
    return {
      async stop() {
        clearInterval(timer);
        unsubscribe();
        await send('STOPPING=1');
      },
    };
  };
}
