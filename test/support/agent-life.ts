/**
 * One life of the agent: an engine on its ports. `kill` is kill -9: from that moment on nothing of
 * it runs any more; what it had sent goes its way, what it had not written is not written.
 */
import { Engine } from '../../src/reconcile/engine.ts';
import type { EngineEvent } from '../../src/reconcile/events.ts';
import type { CorePorts, EnginePolicy } from '../../src/reconcile/ports.ts';

export const POLICY: EnginePolicy = {
  mode: 'enforce',
  unsigned: 'benign',
  operator: 'disruptive',
  irreversibleSignatures: 2,
  maxParallel: 4,
  intervalMs: 30_000,
  configIntervalMs: 300_000,
};

/** Where a life may be ended: before the call is made, or after it, its answer never seen. */
export type Step = (port: string, method: string, moment: 'before' | 'after') => void;

const NEVER = new Promise<never>(() => undefined);
/** Synchronous reads of memory: there is nothing to interrupt. */
const ASYNC: Readonly<Record<string, readonly string[]>> = {
  clock: ['sleep'],
  ledger: ['append', 'note'],
  desired: ['read'],
  guests: [
    'observe',
    'lookAtNode',
    'look',
    'start',
    'stop',
    'setConfig',
    'awaitTask',
    'taskStatus',
    'findTasks',
  ],
};

export class AgentLife {
  readonly engine: Engine;
  #isDead = false;

  constructor(ports: CorePorts, onStep: Step = () => undefined) {
    this.engine = new Engine({
      ...ports,
      clock: this.#mortal('clock', ports.clock, onStep),
      ledger: this.#mortal('ledger', ports.ledger, onStep),
      desired: this.#mortal('desired', ports.desired, onStep),
      guests: this.#mortal('guests', ports.guests, onStep),
      events: { emit: (event: EngineEvent) => this.#isDead || ports.events.emit(event) },
    });
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  kill(): void {
    this.#isDead = true;
  }

  /** The port, whose calls are never answered once the agent is dead. */
  #mortal<Port extends object>(name: string, port: Port, onStep: Step): Port {
    return new Proxy(port, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        const method = String(key);
        if (ASYNC[name]?.includes(method) !== true) return value.bind(target);
        return async (...args: unknown[]): Promise<unknown> => {
          if (this.#isDead) return NEVER;
          onStep(name, method, 'before');
          if (this.#isDead) return NEVER;
          const [outcome] = await Promise.allSettled([Reflect.apply(value, target, args)]);
          if (this.#isDead) return NEVER;
          onStep(name, method, 'after');
          if (this.#isDead) return NEVER;
          if (outcome.status === 'rejected') throw outcome.reason;
          return outcome.value;
        };
      },
    });
  }
}
