/**
 * Looks at the host's signs every second and wakes the loop when they have changed: a config that
 * was written, a guest that has ended, a task that began. Without signs it does nothing.
 */
import type { StartService } from '../daemon/daemon.ts';
import { systemClock } from '../system.ts';
import { createSignReader } from './host-signs.ts';

/** Of the 2 s within which a guest's end is to be noticed. */
const LOOK_EVERY_MS = 1_000;
/** Where there are none: they come with a unit that somebody installs. */
const LOOK_FOR_THEM_EVERY_MS = 5_000;

export function createSignWatch(): StartService {
  return async ({ config, loop, log }) => {
    const over = new AbortController();
    const readSigns = createSignReader(config.look, config.node);
    const watch = async (): Promise<void> => {
      let stamp: string | null = null;
      while (!over.signal.aborted) {
        const signs = readSigns(systemClock.now());
        if (signs !== null && stamp === null) log.info('cheap looks are in use');
        if (signs === null && stamp !== null) log.warn('no cheap looks any more: the API is asked');
        // Also where they are back: what happened meanwhile was not seen.
        if (signs !== null && signs.stamp !== stamp) loop.wake();
        stamp = signs?.stamp ?? null;
        const pauseMs = stamp === null ? LOOK_FOR_THEM_EVERY_MS : LOOK_EVERY_MS;
        await systemClock.sleep(pauseMs, over.signal);
      }
    };
    const watching = watch();
    return {
      async stop() {
        over.abort();
        await watching;
      },
    };
  };
}
