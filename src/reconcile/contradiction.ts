/**
 * What reconciling would undo needs a hold, or is refused: as the op is accepted, and again at its
 * lane's turn. The planner itself is asked, about the guest as the op would leave it: what a pass
 * leaves alone (by mode or hold, for an ignored key) is no contradiction.
 */
import type { DesiredGuest } from './desired.ts';
import type { Problem } from './errors.ts';
import { type Guest, splitTags } from './guest.ts';
import type { Action, SetConfigParams } from './op.ts';
import { type PlanContext, planGuest, type Surroundings } from './planner.ts';
import type { Workroom } from './workroom.ts';

const ALONE: Surroundings = { tasks: [], bulkTasks: [], node: null };

export function findContradiction(
  { action, holdMs }: { readonly action: Action; readonly holdMs?: number | undefined },
  wanted: DesiredGuest | null,
  guest: Guest,
  room: Pick<Workroom, 'planContext'>,
): Problem | null {
  if (holdMs !== undefined || wanted === null) return null;
  const context = unhurried(room.planContext());
  const left = leaveAs(action, guest);
  const { verdict, actions } = planGuest(about(action, wanted), left, ALONE, context);
  const [undoing] = verdict.kind === 'go' ? actions : [];
  if (undoing === undefined) return null;
  const undone = undoing.action;
  const says =
    undone.kind === 'set_config' ? describeValue(wanted, undone.params) : `power: ${wanted.power}`;
  const message = `desired state (${wanted.source}) says ${says}; ask with a hold to keep it so`;
  return { code: 'conflict', message };
}

function describeValue(wanted: DesiredGuest, params: SetConfigParams): string {
  const [key = ''] = [...Object.keys(params.set), ...params.delete];
  return `${key} = ${wanted.config.get(key) ?? '(not set)'}`;
}

/** Of what is wanted, that which the op changes. */
function about(action: Action, wanted: DesiredGuest): DesiredGuest {
  if (action.kind !== 'set_config') return { ...wanted, config: new Map() };
  const { set, delete: removed } = action.params;
  const isTouched = (key: string): boolean => Object.hasOwn(set, key) || removed.includes(key);
  const config = new Map([...wanted.config].filter(([key]) => isTouched(key)));
  return { ...wanted, power: 'unmanaged', config };
}

/** Without what passes by itself, a lock or HA at work: it only puts off what a pass would do. */
function leaveAs(action: Action, guest: Guest): Guest {
  const quiet: Guest = {
    ...guest,
    lock: null,
    template: false,
    qmpStatus: null,
    ha: { kind: 'unmanaged' },
  };
  if (action.kind !== 'set_config') {
    return { ...quiet, power: action.kind === 'stop' ? 'stopped' : 'running' };
  }
  const { set, delete: removed } = action.params;
  const known = guest.config.kind === 'known' ? guest.config.config.current : [];
  const current = new Map([...known, ...Object.entries(set)]);
  for (const key of removed) current.delete(key);
  const isTagged = Object.hasOwn(set, 'tags') || removed.includes('tags');
  const tags = isTagged ? splitTags(set['tags'] ?? '') : guest.tags;
  const config = { digest: '', current, pending: new Map(), readAtMs: 0 };
  return { ...quiet, tags, config: { kind: 'known', config } };
}

/** The same for what the agent remembers: a pause after a failure ends. */
function unhurried(context: PlanContext): PlanContext {
  const memoryOf: PlanContext['memoryOf'] = (vmid) => {
    return { ...context.memoryOf(vmid), backoff: null, unsettled: null };
  };
  return { ...context, memoryOf };
}
