/** Nobody wants anything: the provider of an agent that only takes signed ops. */
import { NO_DESIRED_STATE } from '../../reconcile/desired.ts';
import type { DesiredProvider } from '../../reconcile/ports.ts';

export function createEmptyProvider(): DesiredProvider {
  return {
    read: () => Promise.resolve(NO_DESIRED_STATE),
    onChange: () => () => {},
    close: () => Promise.resolve(),
  };
}
