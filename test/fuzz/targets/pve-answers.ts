/**
 * What a node answers: each line is one answer as JSON, `{"data": …}`, or `{"status": 500, …}`. They
 * come in turn to everything that is asked; the `GuestApi` must make a value of each.
 */
import { Access } from '../../../src/proxmox/access.ts';
import { PveApi } from '../../../src/proxmox/api.ts';
import { GuestChanges } from '../../../src/proxmox/changes.ts';
import type { Reply } from '../../../src/proxmox/client.ts';
import { GuestLists } from '../../../src/proxmox/guest-lists.ts';
import { GuestReads } from '../../../src/proxmox/guest-reads.ts';
import { Looks } from '../../../src/proxmox/looks.ts';
import { NodeClock } from '../../../src/proxmox/node-clock.ts';
import { TaskReader } from '../../../src/proxmox/tasks.ts';
import { parseUpid, parseVmid } from '../../../src/reconcile/ids.ts';
import { readSteps } from '../../proxmox/transcripts.ts';
import { going } from '../../support/pve-client.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { type FuzzTarget, insist } from '../target.ts';

const UPID = parseUpid('UPID:pve1:0000A1B2:0012D687:65F00000:qmstart:101:root@pam!agent:');
const VMID = parseVmid(101);

/** Answers in turn, the last one again and again. */
function replies(input: Buffer): readonly Reply[] {
  return input
    .toString('utf8')
    .split('\n')
    .flatMap((line) => readReply(line) ?? []);
}

function readReply(line: string): Reply | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { status, data, total }: Record<string, unknown> = { ...value };
  if (typeof status !== 'number') return { kind: 'answer', data, total };
  const problem = { code: 'service_unavailable', message: 'as told' } as const;
  return { kind: 'failure', problem, effect: 'maybe', status, errors: {} };
}

/** Of every route the first three answers: alike ones teach nothing. */
function readSeeds(): readonly string[] {
  const perRoute = new Map<string, string[]>();
  for (const { method, path, body } of readSteps()) {
    const route = `${method} ${path.replace(/\d+|UPID[^/]*/g, 'N')}`;
    const known = perRoute.get(route) ?? [];
    if (known.length < 3) known.push(JSON.stringify(body ?? {}));
    perRoute.set(route, known);
  }
  return [...perRoute.values()].flat();
}

export const target: FuzzTarget = {
  seeds: readSeeds,
  words: [
    '{"data":[]}',
    '{"data":null}',
    '{"status":403}',
    'running',
    'RUNNING',
    '101',
    UPID ?? '',
    '\n',
  ],
  async run(input) {
    const told = replies(input);
    let asked = 0;
    const request = async (): Promise<Reply> => {
      asked += 1;
      insist(asked < 100, 'one look asks a bounded number of times');
      return told[Math.min(asked, told.length) - 1] ?? { kind: 'answer', data: null, total: null };
    };
    const clock = new VirtualClock();
    const api = new PveApi({ request }, 'pve1');
    const nodeClock = new NodeClock(api, clock);
    const tasks = new TaskReader({ api, nodeClock, user: 'root@pam!agent' });
    const access = new Access(api, clock, going);
    const lists = new GuestLists(api, tasks, clock, going);
    const reads = new GuestReads(api, clock);
    const looks = new Looks({ api, lists, reads, access, tasks, nodeClock, clock });
    const changes = new GuestChanges(api, nodeClock, clock);
    if (VMID === null || UPID === null) throw new TypeError('not valid');
    const guest = { vmid: VMID, kind: 'qemu' } as const;
    const some = new Set([VMID]);
    const seen = await looks.observe({ configs: some, wanted: some }, going);
    for (const [vmid, found] of seen.guests) insist(found.vmid === vmid, 'a guest is itself');
    asked = 0;
    for (const details of [true, false]) {
      await looks.look({ guest, sinceMs: 0, tasksSinceMs: 0, config: true, details }, going);
      asked = 0;
    }
    await looks.lookAtNode(going);
    asked = 0;
    await tasks.status(UPID, going);
    await tasks.find({ guest, sinceMs: 0, newerThan: UPID }, going);
    await changes.start(guest, going);
    await changes.setConfig(
      guest,
      { set: { cores: '1' }, delete: [], digest: 'a'.repeat(40) },
      going,
    );
  },
};
