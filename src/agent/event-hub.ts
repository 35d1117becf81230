/** One stream of engine events, many listeners: logs, progress, metrics, the event stream. */
import type { EngineEvent } from '../reconcile/events.ts';
import type { Events } from '../reconcile/ports.ts';

export interface EventHub extends Events {
  /** The listener must not throw and must not wait; returns the way to stop. */
  subscribe(listener: (event: EngineEvent) => void): () => void;
}

export function createEventHub(): EventHub {
  const listeners = new Set<(event: EngineEvent) => void>();
  return {
    emit(event) {
      for (const listener of listeners) listener(event);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
