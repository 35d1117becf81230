/** The one provider for what the configuration names under `desired`. */
import type { Clock } from '../../reconcile/clock.ts';
import type { DesiredProvider } from '../../reconcile/ports.ts';
import { createCompositeProvider } from './composite.ts';
import { createEmptyProvider } from './empty.ts';
import { createFileProvider } from './file.ts';

export function createConfiguredProvider(paths: readonly string[], clock: Clock): DesiredProvider {
  if (paths.length === 0) return createEmptyProvider();
  return createCompositeProvider(paths.map((path) => createFileProvider({ path, clock })));
}
