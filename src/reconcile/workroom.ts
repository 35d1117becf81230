/** What every turn of a lane has at hand: the ports, the lanes, and where waits are shown. */
import type { DesiredGuest } from './desired.ts';
import type { Wait } from './events.ts';
import type { OpId, Vmid } from './ids.ts';
import type { Lanes } from './lanes.ts';
import type { NodeLookNeed } from './node-look.ts';
import type { OpRecord, OpRecordDraft } from './op.ts';
import type { PlanContext, Surroundings } from './planner.ts';
import type { CorePorts, LookResult, Note } from './ports.ts';
import type { UnsettledRequests } from './unsettled.ts';

export type Found = Extract<LookResult, { kind: 'found' }>;

export interface Workroom extends CorePorts {
  readonly lanes: Lanes;
  /** Ends every wait when the agent stops; ops stay in the journal as they are. */
  readonly signal: AbortSignal;
  /** May an op wait for a guard or for its next try? Not in a run that ends by itself. */
  isPatient(): boolean;
  /** What stands around a guest that was just looked at. */
  surroundings(look: Found, need: NodeLookNeed): Promise<Surroundings>;
  /** What is wanted of the guest as last read, or read now if it was not. */
  findWanted(vmid: Vmid): Promise<DesiredGuest | null>;
  /** What the planner is to know, as of now. */
  planContext(): PlanContext;
  /** Why this guest's lane waits, or null when it goes on. */
  showWait(vmid: Vmid, wait: Wait | null): void;
  /** Aborted when the op is cancelled while it waits. */
  cancelSignal(opId: OpId): AbortSignal;
  /** Appends and announces: the record is durable when this resolves. */
  record(draft: OpRecordDraft): Promise<OpRecord>;
  /** What requests of the agent's earlier lives may still do. */
  readonly unsettled: UnsettledRequests;
  /** Notes a fact; durable when it resolves. Of a guest to be forgotten the pauses go, too. */
  note(note: Note): Promise<void>;
}
