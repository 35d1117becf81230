/** The plan as the agent answers it, back in the core's form, so that it is printed the same. */
import { toSentAction } from '../../reconcile/op-shape.ts';
import type { Plan, PlanEntry } from '../../reconcile/plan.ts';
import type { PlanDocument } from './documents.ts';

type GuestAnswer = PlanDocument['guests'][number];

export function planOfDocument({ guests }: PlanDocument): Plan {
  return { entries: guests.map(entryOf) };
}

function entryOf(guest: GuestAnswer): PlanEntry {
  const { vmid, kind, name, mode, status, power } = guest;
  const conditions = guest.conditions.map(({ until, ...condition }) => ({
    ...condition,
    ...(until === undefined ? {} : { untilMs: Date.parse(until) }),
  }));
  const [first] = conditions;
  return {
    vmid,
    kind,
    name,
    mode,
    status,
    power,
    changes: guest.changes.map(({ is_written, ...change }) => ({
      ...change,
      isWritten: is_written,
    })),
    actions: guest.actions.map(({ kind: action, params, ...rest }) => ({
      action: toSentAction(action, params),
      ...rest,
    })),
    verdict:
      guest.runs === 'go' || first === undefined
        ? { kind: 'go' }
        : { kind: guest.runs, condition: first },
    conditions,
  };
}
