/**
 * How the daemon's process is told to be small: it idles for weeks beside the guests of its host.
 * What it does when it is busy must not pay for it: with `--optimize-for-size` V8 clears the heap
 * so often that an intake of signed ops is half as fast.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { StartService } from './daemon.ts';

/** To be called before anything large is loaded. */
export function preferLittleMemory(): void {
  // Ten times V8's own numbers: what a pass does twice a minute takes 15 MiB to optimise, and weeks
  // to give the time back. What is busy still gets there within a second.
  setFlagsFromString('--invocation-count-for-maglev=4000');
  setFlagsFromString('--invocation-count-for-turbofan=30000');
  // The HTTP parser of undici is WebAssembly: the code it begins with is fast enough for a few
  // requests a second, and to optimise it takes 10 MiB that are never given back.
  setFlagsFromString('--no-wasm-tier-up');
  setFlagsFromString('--no-wasm-dynamic-tiering');
}

/**
 * What starting took is given back after the first pass: else a third of the heap stays as it is
 * for as long as nothing is short.
 */
export function createThriftService(): StartService {
  return async ({ events }) => {
    const unsubscribe = events.subscribe(({ kind }) => {
      if (kind !== 'pass') return;
      unsubscribe();
      setFlagsFromString('--expose-gc');
      const collect: () => void = runInNewContext('gc');
      setImmediate(collect);
    });
    return { stop: async () => unsubscribe() };
  };
}
