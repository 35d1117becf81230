/**
 * Passes and plans that were asked for. A pass asked for is told of when it is planned and when
 * its work is done; plans asked for at the same moment are one look.
 */
import type { CorrelationId, Vmid } from '../../reconcile/ids.ts';
import { isReady, type Plan } from '../../reconcile/plan.ts';
import { type PlanSummary, summarise } from './plan-document.ts';
import type { ControlPorts } from './ports.ts';

interface PassRequest {
  readonly passId: CorrelationId;
  readonly only?: ReadonlySet<Vmid>;
}

/** `planned` for every pass; `settled` for one that was asked for: its guests' lanes have no work any more. */
export interface PassEvent {
  readonly pass_id: CorrelationId;
  readonly state: 'planned' | 'settled' | 'failed';
  readonly at: string;
  readonly duration_ms: number;
  readonly summary: PlanSummary | null;
  /** What each guest's lane was given to do. */
  readonly work: readonly { readonly vmid: Vmid; readonly actions: readonly string[] }[];
}

export interface PassRunner {
  /** Begins it and returns at once. */
  run(request: PassRequest): void;
  plan(only: ReadonlySet<Vmid> | null): Promise<Plan>;
  readonly lastPass: PassEvent | null;
  subscribe(listener: (event: PassEvent) => void): () => void;
  close(): void;
}

type RunnerPorts = Pick<ControlPorts, 'engine' | 'events' | 'clock' | 'reportError'>;

export function createPassRunner(ports: RunnerPorts): PassRunner {
  const { engine, events, clock } = ports;
  const listeners = new Set<(event: PassEvent) => void>();
  let lastPass: PassEvent | null = null;
  let planning: Promise<Plan> | null = null;

  const tell = (event: PassEvent): void => {
    for (const listener of listeners) listener(event);
  };
  const unsubscribe = events.subscribe((event) => {
    if (event.kind !== 'pass') return;
    lastPass = {
      pass_id: event.passId,
      state: 'planned',
      at: new Date(clock.now()).toISOString(),
      duration_ms: Math.round(event.durationMs),
      summary: summarise(event.plan),
      work: workOf(event.plan),
    };
    tell(lastPass);
  });

  async function runPass(request: PassRequest): Promise<void> {
    const startMs = clock.monotonicMs();
    const end = (state: PassEvent['state'], plan: Plan | null): void =>
      tell({
        pass_id: request.passId,
        state,
        at: new Date(clock.now()).toISOString(),
        duration_ms: Math.round(clock.monotonicMs() - startMs),
        summary: plan === null ? null : summarise(plan),
        work: plan === null ? [] : workOf(plan),
      });
    try {
      const plan = await engine.pass({ ...request, isFull: true });
      await engine.idle(new Set(workOf(plan).map(({ vmid }) => vmid)));
      end('settled', plan);
    } catch (error) {
      end('failed', null);
      ports.reportError(error, request.passId);
    }
  }

  return {
    run: (request) => void runPass(request),
    async plan(only) {
      if (only !== null) return engine.plan({ only });
      planning ??= engine.plan().finally(() => {
        planning = null;
      });
      return planning;
    },
    get lastPass() {
      return lastPass;
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      unsubscribe();
      listeners.clear();
    },
  };
}

function workOf({ entries }: Plan): PassEvent['work'] {
  return entries
    .filter(isReady)
    .map(({ vmid, actions }) => ({ vmid, actions: actions.map(({ action }) => action.kind) }));
}
