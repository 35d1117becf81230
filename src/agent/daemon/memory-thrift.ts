/**
 * How the daemon's process is told to be small: it idles for weeks beside the guests of its host,
 * so memory goes before speed. To be called before anything large is loaded.
 */
import { setFlagsFromString } from 'node:v8';

export function preferLittleMemory(): void {
  // A young generation that does not grow to 16 MiB for the garbage of one start.
  setFlagsFromString('--optimize-for-size');
  // The HTTP parser of undici is WebAssembly: the code it begins with is fast enough for a few
  // requests a second, and to optimise it takes 10 MiB that are never given back.
  setFlagsFromString('--no-wasm-tier-up');
  setFlagsFromString('--no-wasm-dynamic-tiering');
}
