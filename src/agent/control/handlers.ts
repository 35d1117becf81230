/**
 * What the routes do: reads answer from what is known, operator ops go through the engine's one
 * way in. Nothing here waits for PVE but the plan (a look of its own) and a guest never seen yet.
 *
 * Handlers throw `ReconcilerError`; the server makes problem documents of them. An answer is
 * checked against its route's schema by the client.
 */
import { ReconcilerError } from '../../reconcile/errors.ts';
import { makeCorrelationId, parseOpId, parseVmid, type Vmid } from '../../reconcile/ids.ts';
import { type Action, DEFAULT_STOP, type OpRecord } from '../../reconcile/op.ts';
import { unseen } from '../daemon/last-look.ts';
import { describeAgent, pauseOf } from './agent-view.ts';
import { API } from './api.ts';
import type { GuestFeed } from './guest-feed.ts';
import { listNameable, resolveRef, unknownGuest } from './guest-ref.ts';
import { type DescribeWait, describeOp, describeWaits } from './op-document.ts';
import { recordsOf } from './op-ref.ts';
import type { PassRunner } from './pass-runner.ts';
import { planDocument } from './plan-document.ts';
import type { ControlPorts, ReadinessReason } from './ports.ts';
import type { ReadingTurns } from './reading-turns.ts';
import type { Listener, RouteInput } from './route.ts';
import { type Answer, type ServedRoute, serve } from './served-route.ts';
import { readWholeOp, type WholeOp } from './whole-op.ts';

export interface HandlerParts {
  readonly ports: ControlPorts;
  readonly feed: GuestFeed;
  readonly passes: PassRunner;
  readonly turns: ReadingTurns;
  readonly listener: Listener;
}

/** Every route of the API, as one listener serves it, with its turns. */
export function createRoutes(parts: HandlerParts): readonly ServedRoute[] {
  return [...opReaders(parts), ...stateReaders(parts), ...guestOps(parts), ...agentOps(parts)];
}

function opReaders(parts: HandlerParts): ServedRoute[] {
  const { ports, turns } = parts;
  return [
    serve(API.listOps, async ({ query: { after, limit, ...query } }, gone) => {
      const opId = after === undefined ? undefined : parseOpId(after);
      if (opId === null) throw new ReconcilerError('invalid_request', 'after: expected an op id');
      const from = opId === undefined ? {} : { after: opId };
      // One more says whether there is another page.
      const wanted = { ...query, ...from, limit: limit + 1, signal: gone };
      const found = await turns.take(() => ports.history.listOps(wanted), gone);
      const ops = found.slice(0, limit);
      const next = found.length > limit ? (ops.at(-1)?.op_id ?? null) : null;
      const waitOf = waitsOf(ports);
      return { body: { ops: ops.map((op) => describeOp([op], waitOf(op.op_id))), next } };
    }),
    serve(API.getOp, async ({ params: { op_id: ref } }, gone) => ({
      body: await showOp(ref, parts, gone),
    })),
    serve(API.getTaskLog, async ({ params: { op_id: ref } }, gone) => {
      const op = ports.ledger.opsInFlight().find(({ opId }) => opId === ref);
      const running = op?.latest.state === 'task_running' ? op.latest : null;
      const { op_id } = running ?? (await findOp(ref, parts, gone));
      const upid = running?.upid ?? null;
      const lastLine = upid === null ? null : await ports.lastLogLine(upid);
      return { body: { op_id, upid, last_line: lastLine } };
    }),
  ];
}

function stateReaders(parts: HandlerParts): ServedRoute[] {
  const { ports, feed, passes, listener } = parts;
  return [
    serve(API.listGuests, () => {
      const { actual } = ports.looks;
      const lookedAt = actual === null ? null : new Date(actual.lookedAtMs).toISOString();
      return { body: { looked_at: lookedAt, guests: feed.list() } };
    }),
    serve(API.getGuest, ({ params: { ref } }) => ({
      body: describeGuest(findVmid(ref, ports), parts),
    })),
    serve(API.getPlan, async ({ query: { ref } }) => {
      const only = ref === undefined ? null : new Set(ref.map((each) => findVmid(each, ports)));
      const plan = await passes.plan(only);
      return { body: planDocument(plan, ports.looks.desired?.rejected ?? []) };
    }),
    serve(API.getAgent, () => ({ body: describeAgent(ports, passes.lastPass) })),
    serve(API.getHealth, () => ({ body: { status: 'ok' } })),
    serve(API.getReadiness, () => {
      const reasons = ports.readiness().map((reason) => describeReason(reason, listener));
      const isReady = reasons.length === 0;
      return { status: isReady ? 200 : 503, body: { ready: isReady, reasons } };
    }),
  ];
}

/** Anybody asks on `public`: a code, and where to look, not what stands in files or what PVE said. */
function describeReason(
  { code, message, place }: ReadinessReason,
  listener: Listener,
): ReadinessReason {
  if (listener !== 'public') return { code, message };
  return { code, message: place ?? '`pve-reconciler status` on the host says why' };
}

function guestOps(parts: HandlerParts): ServedRoute[] {
  const { ports, feed } = parts;
  return [
    serve(API.startGuest, (input, gone) =>
      submitOp(input, { kind: 'start', params: {} }, { ...parts, gone }),
    ),
    serve(API.stopGuest, (input, gone) => {
      const params = { ...DEFAULT_STOP, ...input.body.params };
      return submitOp(input, { kind: 'stop', params }, { ...parts, gone });
    }),
    serve(API.restartGuest, (input, gone) => {
      const params = { ...DEFAULT_STOP, ...input.body.params };
      return submitOp(input, { kind: 'restart', params }, { ...parts, gone });
    }),
    serve(API.holdGuest, async ({ params: { ref }, body }) => {
      const vmid = findVmid(ref, ports);
      describeGuest(vmid, parts);
      const untilMs = body.for === undefined ? null : ports.clock.now() + body.for;
      const reason = askedBy('held', body.actor);
      await ports.engine.hold(vmid, { untilMs, reason });
      feed.touch(vmid);
      return { body: describeGuest(vmid, parts) };
    }),
    serve(API.resumeGuest, async ({ params: { ref } }) => {
      const vmid = findVmid(ref, ports);
      describeGuest(vmid, parts);
      await ports.ledger.note({ kind: 'resume_guest', vmid });
      ports.engine.forgive(vmid);
      feed.touch(vmid);
      ports.wake();
      return { body: describeGuest(vmid, parts) };
    }),
  ];
}

function agentOps(parts: HandlerParts): ServedRoute[] {
  const { ports, passes } = parts;
  return [
    serve(API.cancelOp, async ({ params: { op_id: ref } }, gone) => {
      const { op_id: opId } = await findOp(ref, parts, gone);
      const problem = await ports.engine.cancel(opId);
      if (problem !== null) {
        throw new ReconcilerError(problem.code, problem.message, {
          hint: 'what has begun is not cancelled: `pve-reconciler ops show` has how it goes, or how it ended',
          context: { op_id: opId },
        });
      }
      return { body: await showOp(opId, parts, gone) };
    }),
    serve(API.reconcile, ({ body: { refs } }) => {
      const only = refs === undefined ? null : new Set(refs.map((ref) => findVmid(ref, ports)));
      const passId = makeCorrelationId(ports.random);
      passes.run({ passId, ...(only === null ? {} : { only }) });
      return { body: { pass_id: passId } };
    }),
    serve(API.pause, async ({ body }) => {
      const untilMs = body.for === undefined ? null : ports.clock.now() + body.for;
      const reason = askedBy('paused', body.actor);
      await ports.ledger.note({ kind: 'pause', pause: { untilMs, reason } });
      return { body: pauseOf(ports) };
    }),
    serve(API.resume, async () => {
      await ports.ledger.note({ kind: 'resume' });
      ports.wake();
      return { body: pauseOf(ports) };
    }),
  ];
}

async function submitOp(
  { params: { ref }, body }: Pick<RouteInput<typeof API.stopGuest>, 'params' | 'body'>,
  action: Action,
  { gone, ...parts }: HandlerParts & { readonly gone: AbortSignal },
): Promise<Answer> {
  const { ports } = parts;
  const result = await ports.engine.submit({
    origin: 'operator',
    vmid: findVmid(ref, ports),
    action,
    ...(body.actor === undefined ? {} : { actor: body.actor }),
    ...(body.correlation_id === undefined ? {} : { correlationId: body.correlation_id }),
    ...(body.hold === undefined ? {} : { holdMs: body.hold }),
  });
  if (result.kind === 'refused') {
    throw new ReconcilerError(result.problem.code, result.problem.message);
  }
  if (result.kind === 'repeat') {
    return { status: 200, body: await showOp(result.opId, parts, gone) };
  }
  const { record } = result;
  return { body: describeOp([record], waitsOf(ports)(record.op_id)) };
}

function showOp(ref: string, { ports, turns }: HandlerParts, gone: AbortSignal): Promise<WholeOp> {
  return turns.take(() => readWholeOp(ref, ports, gone), gone);
}

async function findOp(
  ref: string,
  { ports, turns }: HandlerParts,
  gone: AbortSignal,
): Promise<OpRecord> {
  return recordsOf(ref, await turns.take(() => ports.history.readOp(ref, gone), gone))[0];
}

function waitsOf({ ledger, engine }: ControlPorts): DescribeWait {
  return describeWaits({ inFlight: ledger.opsInFlight(), waits: engine.waits() });
}

function askedBy(what: string, actor: string | undefined): string {
  return actor === undefined ? `${what} by an operator` : `${what} by ${actor}`;
}

/** A whole vmid is taken as it is, seen or not: the engine looks for it. */
function findVmid(ref: string, { looks }: ControlPorts): Vmid {
  const guests = listNameable(looks);
  const whole = parseVmid(ref);
  const isNamed = guests.some(({ name }) => name === ref);
  return whole !== null && !isNamed ? whole : resolveRef(ref, guests, unseen(looks.actual));
}

/** Throws where it is not known: nothing is noted of such a guest. */
function describeGuest(vmid: Vmid, { ports: { looks }, feed }: HandlerParts): object {
  const guest = feed.find(vmid);
  if (guest !== null) return guest;
  const why = unseen(looks.actual);
  if (why !== null) throw unknownGuest(`${vmid}`, why);
  throw new ReconcilerError('not_found', `guest ${vmid} is not on this node, nor wanted`, {
    context: { vmid },
  });
}
