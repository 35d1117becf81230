/** The words of a scenario's script, one function each. */
import type { ErrorCode } from '../../src/reconcile/errors.ts';
import { parseCorrelationId, parseOpId, parseVmid, type Vmid } from '../../src/reconcile/ids.ts';
import type { OpRequest } from '../../src/reconcile/intake.ts';
import type { OpKind } from '../../src/reconcile/op.ts';
import { toAction } from '../../src/reconcile/op-shape.ts';
import { leadingOps, phaseOf } from '../../src/reconcile/phase.ts';
import type { Fault, RequestKind } from '../support/model/faults.ts';
import type { ModelWorld } from '../support/model-world.ts';
import type { ScenarioRun } from './scenario-run.ts';
import { readTime } from './scenario-schema.ts';

type Args = readonly string[];
type Command = (args: Args, run: ScenarioRun) => unknown;

const COMMANDS: Readonly<Record<string, Command>> = {
  agent: ([how], run) => run.startAgent(how === 'once' ? 'once' : 'daemon'),
  kill: (_args, run) => run.kill(),
  sigterm: (_args, run) => run.stopAgent(),
  pass: (_args, run) => void run.world.life.engine.pass(),
  plan: (_args, run) => void showPlan(run),
  operator: (args, run) => void submit('operator', args, run),
  hub: (args, run) => void submit('hub', args, run),
  cancel: ([which], run) => void cancel(Number(which), run),
  hold: ([vmid = ''], run) => hold(vmid, null, run),
  'hold-for': ([vmid = '', time = ''], run) => hold(vmid, readTime(time), run),
  resume: ([vmid = ''], run) => resume(vmid, run),
  pause: ([time], run) =>
    run.world.ports.ledger.note({
      kind: 'pause',
      pause: { untilMs: untilMs(time, run), reason: 'by hand' },
    }),
  unpause: (_args, run) => run.world.ports.ledger.note({ kind: 'resume' }),
  desire: ([vmid = '', ...fields], run) =>
    run.world.desired.change(vmid, JSON.parse(fields.join(' '))),
  revoke: ([origin = ''], run) => run.revoked.add(origin),
  phase: (_args, run) => showPhases(run),
  fault: (args, run) => planFault(args, run),
  node: ([action = '', ...args], run) => actOnNode(action, args, run),
};

export async function runCommand([name = '', ...args]: Args, run: ScenarioRun): Promise<void> {
  const command = COMMANDS[name];
  if (command === undefined) throw new Error(`no such command: ${name}`);
  if (!['phase', 'plan'].includes(name)) run.log.add('script', [name, ...args].join(' '));
  await command(args, run);
}

function vmidOf(text: string): Vmid {
  const vmid = parseVmid(text);
  if (vmid === null) throw new Error(`not a vmid: ${text}`);
  return vmid;
}

function untilMs(time: string | undefined, run: ScenarioRun): number | null {
  return time === undefined ? null : run.world.clock.now() + readTime(time);
}

/** `KIND VMID [NAME=VALUE…] [{PARAMS}]`. */
async function submit(origin: 'operator' | 'hub', args: Args, run: ScenarioRun): Promise<void> {
  const [kind = '', vmid = '', ...rest] = args;
  const json = rest.filter((word) => !/^[a-z_]+=/.test(word)).join(' ');
  const options = new Map(
    rest
      .filter((word) => /^[a-z_]+=/.test(word))
      .map((word) => [word.split('=')[0], word.slice(word.indexOf('=') + 1)]),
  );
  const holdText = options.get('hold');
  const correlation = parseCorrelationId(options.get('correlation'));
  const action = toAction(
    kind as OpKind,
    json === '' ? undefined : withDefaults(kind, JSON.parse(json)),
  );
  const { power, digest } = { power: options.get('if_power'), digest: options.get('if_digest') };
  const request: OpRequest = {
    origin,
    vmid: vmidOf(vmid),
    action,
    ...(holdText === undefined ? {} : { holdMs: readTime(holdText) }),
    ...(correlation === null ? {} : { correlationId: correlation }),
    ...(power === 'running' || power === 'stopped' ? { precondition: { power } } : {}),
    ...(digest === undefined ? {} : { precondition: { digest } }),
    ...(origin === 'hub' ? { signed: signedPart(options, args, run) } : {}),
  };
  const result = await run.world.life.engine.submit(request);
  switch (result.kind) {
    case 'accepted':
      return run.log.add('answer', `accepted ${result.record.op_id}`);
    case 'repeat':
      return run.log.add('answer', `repeat of ${result.opId}`);
    case 'refused':
      return run.log.add('answer', `refused ${result.problem.code}: ${result.problem.message}`);
  }
}

function withDefaults(kind: string, params: object): never {
  const defaults =
    kind === 'set_config'
      ? { set: {}, delete: [] }
      : { mode: 'shutdown', timeout_s: 60, force: false };
  return { ...defaults, ...params } as never;
}

function signedPart(
  options: ReadonlyMap<string | undefined, string>,
  args: Args,
  run: ScenarioRun,
): NonNullable<OpRequest['signed']> {
  const signatures = Number(options.get('signatures') ?? '1');
  const payload = args.filter((word) => !word.startsWith('key=')).join(' ');
  return {
    idempKey: options.get('key') ?? run.newKey(),
    payloadHmac: Buffer.from(payload).toString('hex').padEnd(64, '0').slice(0, 64),
    expiresAtMs: run.world.clock.now() + readTime(options.get('expires') ?? '1h'),
    signers: Array.from({ length: signatures }, (_, index) => ({
      keyid: `hub-${index + 1}`,
      key_sha256: `${index + 1}`.repeat(64),
    })),
  };
}

/** The nth op that was received, from 1. */
async function cancel(which: number, run: ScenarioRun): Promise<void> {
  const received = run.world.journal.records.filter(({ state }) => state === 'received');
  const opId = parseOpId(received[which - 1]?.op_id);
  if (opId === null) throw new Error(`no op ${which} was received`);
  const problem = await run.world.life.engine.cancel(opId);
  run.log.add(
    'answer',
    problem === null ? `${opId} is cancelled` : `${problem.code}: ${problem.message}`,
  );
}

function hold(vmid: string, forMs: number | null, run: ScenarioRun): Promise<void> {
  const until = forMs === null ? null : run.world.clock.now() + forMs;
  return run.world.life.engine.hold(vmidOf(vmid), { untilMs: until, reason: 'by hand' });
}

async function resume(vmid: string, run: ScenarioRun): Promise<void> {
  await run.world.ports.ledger.note({ kind: 'resume_guest', vmid: vmidOf(vmid) });
  run.world.life.engine.forgive(vmidOf(vmid));
}

async function showPlan(run: ScenarioRun): Promise<void> {
  const plan = await run.world.life.engine.plan();
  for (const { vmid, status, actions, conditions } of plan.entries) {
    const words = [
      ...actions.map(({ action }) => action.kind),
      ...conditions.map(({ code }) => code),
    ];
    run.log.add('asked', `${vmid} ${status} ${words.join(' ')}`.trimEnd());
  }
}

function showPhases(run: ScenarioRun): void {
  const leading = leadingOps(run.world.ports.ledger.opsInFlight());
  const phases = [...leading].map(([vmid, { latest }]) => `${vmid} ${phaseOf(latest.kind)}`);
  run.log.add('phase', phases.join(', ') || 'all steady');
}

/** `KIND FAULT [WORDS…]`. */
function planFault([on = '', kind = '', ...rest]: Args, run: ScenarioRun): void {
  run.world.api.faults.plan(on as RequestKind, readFault(kind, rest));
}

function readFault(kind: string, [first = '', ...rest]: Args): Fault {
  switch (kind) {
    case 'cut_before':
    case 'cut_after':
    case 'cut_twice':
      return { kind };
    case 'answer_596':
      return { kind, effectAfterMs: first === 'never' ? null : readTime(first) };
    case 'no_worker_upid':
      return { kind, hasEffect: first === 'done' };
    case 'refuse':
      return { kind, code: first as ErrorCode, message: rest.join(' ') };
    default:
      throw new Error(`no such fault: ${kind}`);
  }
}

type NodeAction = (args: Args, world: ModelWorld) => unknown;

const NODE_ACTIONS: Readonly<Record<string, NodeAction>> = {
  down: (_args, { api }) => (api.wire.state = 'down'),
  stuck: (_args, { api }) => (api.wire.state = 'stuck'),
  up: (_args, { api }) => (api.wire.state = 'up'),
  blind: (_args, { api }) => (api.views.isBlind = true),
  sighted: (_args, { api }) => (api.views.isBlind = false),
  hide: ([id], { api }) => api.views.hidden.add(vmidOf(id ?? '')),
  show: ([id], { api }) => api.views.hidden.delete(vmidOf(id ?? '')),
  'no-quorum': (_args, { node }) => (node.isQuorate = false),
  quorum: (_args, { node }) => (node.isQuorate = true),
  reboot: (_args, { node }) => node.reboot(),
  'rotate-tasks': (_args, { node }) => node.tasks.rotate(),
  disarm: (_args, { node }) => (node.ha.isDisarmed = true),
  arm: (_args, { node }) => (node.ha.isDisarmed = false),
  'ha-loses': ([count = '1'], { node }) => (node.ha.losesNext = Number(count)),
  'ha-manages': ([id], { node }) => node.ha.manage(node.guest(Number(id)), null),
  'ha-state': ([id, state = ''], { node }) => (node.guest(Number(id)).haState = state),
  backup: ([id, time = ''], { node }) =>
    node.stranger('vzdump', node.guest(Number(id)), { forMs: readTime(time), lock: 'backup' }),
  task: ([type = '', id, time = '', ...end], { node }) =>
    node.stranger(type, node.guest(Number(id)), { forMs: readTime(time), end: end.join(' ') }),
  lock: ([id, lock = ''], { node }) =>
    (node.guest(Number(id)).lock = lock === 'none' ? null : lock),
  qmp: ([id, status = ''], { node }) => (node.guest(Number(id)).qmpStatus = status),
  start: ([id], { node }) => node.start(node.guest(Number(id)), 'root@pam'),
  stop: ([id], { node }) =>
    node.stop(node.guest(Number(id)), { mode: 'stop', timeout_s: 60, force: false }, 'root@pam'),
  poweroff: ([id], { node }) => node.guest(Number(id)).powerOff(),
  write: ([id, key = '', ...value], { node }) => node.guest(Number(id)).write(key, value.join(' ')),
  'moves-live-and-back': ([id], { node }) => node.moveLiveAndBack(node.guest(Number(id))),
  migrate: ([id, to = '', time = ''], { node }) =>
    node.migrate(node.guest(Number(id)), to, readTime(time)),
  replace: ([id, type = ''], { node }) => node.replace(node.guest(Number(id)), type),
  destroy: ([id], { node }) => node.guests.delete(vmidOf(id ?? '')),
  create: ([id, kind], { node }) =>
    node.create(Number(id), { kind: kind === 'lxc' ? 'lxc' : 'qemu' }),
  return: ([id], { node }) => {
    node.elsewhere.delete(vmidOf(id ?? ''));
    node.add(Number(id));
  },
  remake: ([id, kind], { node }) => {
    node.guests.delete(vmidOf(id ?? ''));
    node.add(Number(id), { kind: kind === 'lxc' ? 'lxc' : 'qemu' });
  },
  bulk: ([type, gap = '100ms'], { node }) => node.bulk(type as 'stopall', readTime(gap)),
  'step-clock-back': ([time = ''], { clock }) => clock.stepWall(-readTime(time)),
  'step-clock': ([time = ''], { clock }) => clock.stepWall(readTime(time)),
};

function actOnNode(action: string, args: Args, run: ScenarioRun): void {
  const act = NODE_ACTIONS[action];
  if (act === undefined) throw new Error(`no such node action: ${action}`);
  act(args, run.world);
}
