/**
 * The world file: which guests and tokens the node starts with (README, "World file"). Every field
 * may be left out.
 */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { Clock, type Ticker } from './clock.ts';
import { type Behaviour, type Guest, haSid } from './guest.ts';
import { GuestConfig } from './guest-config.ts';
import { PveNode, type Token } from './node.ts';
import { AGENT_PRIVILEGES, ALL_PRIVILEGES, type Principal } from './principal.ts';

const scalar = z.union([z.string(), z.number(), z.boolean()]);

export const behaviourFields = {
  obeys_shutdown: z.boolean().optional(),
  shutdown_ms: z.number().min(0).optional(),
  start_error: z.string().nullable().optional(),
  start_warnings: z.array(z.string()).optional(),
};

export const guestSchema = z.strictObject({
  vmid: z.int().min(100),
  kind: z.enum(['qemu', 'lxc']),
  running: z.boolean().default(false),
  uptime_s: z.number().min(0).default(0),
  qmp_status: z.enum(['running', 'paused', 'shutdown']).default('running'),
  config: z.record(z.string(), scalar).default({}),
  pending: z.record(z.string(), scalar).default({}),
  pending_delete: z.array(z.string()).default([]),
  /** The HA manager's requested state, for a managed guest. */
  ha: z.enum(['started', 'stopped', 'disabled', 'ignored']).optional(),
  ...behaviourFields,
});

const tokenSchema = z.strictObject({
  /** USER@REALM!TOKENID */
  id: z.string().regex(/^[^!@\s]+@[\w.-]+![\w.-]+$/),
  secret: z.string().optional(),
  /** Path → privileges, or one of the names of PRIVILEGE_SETS. */
  acl: z.record(z.string(), z.union([z.array(z.string()), z.enum(['all', 'agent'])])),
});

export const worldSchema = z.strictObject({
  node: z.string().default('pve1'),
  guests: z.array(guestSchema).default([]),
  tokens: z.record(z.string(), tokenSchema).default({}),
  durations_ms: z.record(z.string(), z.number().min(0)).default({}),
  speed: z.number().positive().optional(),
  auth_delay_ms: z.number().min(0).default(3000),
  resources_lag_ms: z.number().min(0).default(8000),
  clock_offset_s: z.number().default(0),
  uptime_s: z.number().min(0).default(86_400),
});

export type World = z.infer<typeof worldSchema>;

const PRIVILEGE_SETS = { all: ALL_PRIVILEGES, agent: AGENT_PRIVILEGES } as const;

/** As the tokens of the recordings were. */
const DEFAULT_TOKENS: Readonly<Record<string, z.infer<typeof tokenSchema>>> = {
  root: { id: 'root@pam!lab', acl: { '/': 'all' } },
  agent: { id: 'agent@pve!agent', acl: { '/vms': 'agent' } },
  audit: { id: 'audit@pve!audit', acl: { '/vms': ['VM.Audit'] } },
  nobody: { id: 'nobody@pve!nobody', acl: {} },
};

export interface Loaded {
  readonly node: PveNode;
  /** File name → the token's line, `USER@REALM!TOKENID=SECRET`. */
  readonly tokenLines: ReadonlyMap<string, string>;
}

export function loadWorld(
  world: World,
  options: { speed: number; fingerprint: string; ticker: Ticker },
): Loaded {
  const clock = new Clock({
    speed: world.speed ?? options.speed,
    uptimeMs: world.uptime_s * 1000,
    ticker: options.ticker,
  });
  clock.setOffset(world.clock_offset_s * 1000);
  const tokens = new Map<string, Token>();
  const tokenLines = new Map<string, string>();
  for (const [name, token] of Object.entries({ ...DEFAULT_TOKENS, ...world.tokens })) {
    const secret = token.secret ?? randomUUID();
    tokens.set(token.id, { secret, principal: principalOf(token) });
    tokenLines.set(name, `${token.id}=${secret}`);
  }
  const node = new PveNode({
    name: world.node,
    clock,
    tokens,
    durations: world.durations_ms,
    authDelayMs: world.auth_delay_ms,
    resourcesLagMs: world.resources_lag_ms,
    fingerprint: options.fingerprint,
  });
  for (const entry of world.guests) addGuest(node, entry);
  return { node, tokenLines };
}

function principalOf(token: z.infer<typeof tokenSchema>): Principal {
  const [user = '', tokenId = ''] = token.id.split('!');
  const acl = Object.entries(token.acl).map(
    ([path, held]) =>
      [path, typeof held === 'string' ? PRIVILEGE_SETS[held] : new Set(held)] as const,
  );
  return { user, tokenId, isRoot: false, acl: new Map(acl) };
}

export function toText(value: z.infer<typeof scalar>): string {
  return typeof value === 'boolean' ? String(Number(value)) : String(value);
}

export function addGuest(node: PveNode, entry: z.infer<typeof guestSchema>): void {
  const values = Object.entries(entry.config).map(([key, value]) => [key, toText(value)] as const);
  const config = new GuestConfig(values);
  for (const [key, value] of Object.entries(entry.pending)) config.pending.set(key, toText(value));
  for (const key of entry.pending_delete) config.pendingDeletes.add(key);
  const guest: Guest = {
    kind: entry.kind,
    vmid: entry.vmid,
    config,
    behaviour: behaviourOf(DEFAULT_BEHAVIOUR[entry.kind], entry),
    run: { kind: 'stopped' },
  };
  if (entry.running) {
    const sinceMs = node.clock.monotonicMs() - entry.uptime_s * 1000;
    const pid = node.tasks.takePid();
    guest.run = { kind: 'running', pid, sinceMs, qmpStatus: entry.qmp_status };
  }
  node.guests.set(guest.vmid, guest);
  if (entry.ha !== undefined) node.ha.addResource(haSid(guest), entry.ha, []);
}

const DEFAULT_BEHAVIOUR: Readonly<Record<Guest['kind'], Behaviour>> = {
  qemu: { obeysShutdown: true, shutdownMs: 300, startError: null, startWarnings: [] },
  lxc: { obeysShutdown: true, shutdownMs: 700, startError: null, startWarnings: [] },
};

type BehaviourFields = z.infer<z.ZodObject<typeof behaviourFields>>;

export function behaviourOf(base: Behaviour, fields: BehaviourFields): Behaviour {
  return {
    obeysShutdown: fields.obeys_shutdown ?? base.obeysShutdown,
    shutdownMs: fields.shutdown_ms ?? base.shutdownMs,
    startError: fields.start_error === undefined ? base.startError : fields.start_error,
    startWarnings: fields.start_warnings ?? base.startWarnings,
  };
}
