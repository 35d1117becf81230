/** One stream of engine events, many listeners: logs, progress, metrics, the event stream. */
import type { EngineEvent } from '../../reconcile/events.ts';
import type { Events } from '../../reconcile/ports.ts';
import { type Broadcast, createBroadcast } from './broadcast.ts';

export interface EventHub extends Events, Pick<Broadcast<EngineEvent>, 'subscribe'> {}

export function createEventHub(): EventHub {
  const { tell, subscribe } = createBroadcast<EngineEvent>();
  return { emit: tell, subscribe };
}
