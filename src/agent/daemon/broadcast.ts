/** One source, many listeners. A listener must not throw and must not wait. */

export interface Broadcast<Value> {
  readonly tell: (value: Value) => void;
  /** Returns the way to stop. */
  readonly subscribe: (listener: (value: Value) => void) => () => void;
}

export function createBroadcast<Value>(): Broadcast<Value> {
  const listeners = new Set<(value: Value) => void>();
  return {
    tell(value) {
      for (const listener of listeners) listener(value);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
