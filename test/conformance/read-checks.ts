/** Checks that change nothing. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readRequest } from '../../src/proxmox/request.ts';
import { formatUpid } from '../../src/proxmox/upid.ts';
import type { Guest } from '../../src/reconcile/guest.ts';
import { parseVmid } from '../../src/reconcile/ids.ts';
import type { LookResult } from '../../src/reconcile/ports.ts';
import type { Check, Context } from './suite.ts';

/** Guests looked at one by one; a sample is enough on a large node. */
const GUESTS_LOOKED_AT = 20;
/** Nobody's: PVE gives numbers out from 100 up. */
const UNUSED_VMID = 999_999_998;

export const READ_CHECKS: readonly Check[] = [
  {
    name: 'it is PVE 8 or 9',
    run: async ({ proxmox, signal }) => {
      const version = await proxmox.version(signal);
      assert.equal(version.kind, 'value', told(version));
      if (version.kind === 'value') assert.match(version.value.version, /^[89]\./);
    },
  },
  {
    name: 'the token sees every guest, and says so',
    run: async (context) => {
      const { qemu, lxc } = await observe(context);
      assert.equal(qemu.kind, 'complete', told(qemu));
      assert.equal(lxc.kind, 'complete', told(lxc));
    },
  },
  {
    name: 'every guest can be looked at, with its digest',
    run: async (context) => {
      const { guests } = await observe(context);
      if (guests.size === 0) return { skipped: 'there is no guest' };
      for (const guest of [...guests.values()].slice(0, GUESTS_LOOKED_AT)) {
        const look = await lookAt(context, guest);
        assert.equal(look.kind, 'found', `${guest.vmid}: ${told(look)}`);
        if (look.kind !== 'found') continue;
        assert.equal(look.guest.config.kind, 'known', `${guest.vmid}: ${told(look.guest.config)}`);
        assert.notEqual(look.guest.ha.kind, 'not_read');
      }
      return undefined;
    },
  },
  {
    name: 'the list and the own look agree about a guest',
    run: async (context) => {
      const { guests } = await observe(context);
      const [listed] = guests.values();
      if (listed === undefined) return { skipped: 'there is no guest' };
      const look = await lookAt(context, listed);
      assert.equal(look.kind, 'found', told(look));
      if (look.kind !== 'found') return undefined;
      const { name, template, lock, tags } = look.guest;
      assert.deepEqual(
        { name, template, lock, tags },
        {
          name: listed.name,
          template: listed.template,
          lock: listed.lock,
          tags: listed.tags,
        },
      );
      return undefined;
    },
  },
  {
    name: 'a guest that is not there is gone, not unknown',
    run: async (context) => {
      const vmid = parseVmid(UNUSED_VMID);
      assert.ok(vmid !== null);
      for (const kind of ['qemu', 'lxc'] as const) {
        const look = await lookAt(context, { vmid, kind });
        assert.deepEqual(look, { kind: 'gone', node: null });
      }
    },
  },
  {
    name: 'a task that PVE does not know has vanished',
    run: async ({ proxmox, node, signal }) => {
      const upid = formatUpid({
        node,
        pid: 1,
        pstart: 1,
        startedS: 1,
        type: 'qmstart',
        id: '100',
        user: 'root@pam',
      });
      assert.ok(upid !== null);
      const status = await proxmox.guests.taskStatus(upid, signal);
      assert.deepEqual(status, { kind: 'ended', end: { kind: 'vanished' } });
    },
  },
  {
    name: 'tasks of a guest can be searched',
    run: async (context) => {
      const { guests } = await observe(context);
      const [guest] = guests.values();
      if (guest === undefined) return { skipped: 'there is no guest' };
      const found = await context.proxmox.guests.findTasks(
        { guest, sinceMs: 0, newerThan: null },
        context.signal,
      );
      assert.equal(found.kind, 'found', told(found));
      return undefined;
    },
  },
  {
    name: 'the node has quorum',
    run: async ({ proxmox, signal }) => {
      const look = await proxmox.guests.lookAtNode(signal);
      if (look.quorate === null) return { skipped: 'the token lacks Sys.Audit on /' };
      assert.equal(look.quorate, true);
      return undefined;
    },
  },
  {
    name: 'the clocks are less than a minute apart',
    run: async ({ proxmox, signal }) => {
      const offsetMs = await proxmox.clockOffsetMs(signal);
      if (offsetMs === null) return { skipped: 'the token lacks Sys.Audit on /nodes/NODE' };
      assert.ok(Math.abs(offsetMs) < 60_000, `the node is ${offsetMs} ms ahead`);
      return undefined;
    },
  },
  {
    name: 'answers passed on by pveproxy keep the connection open',
    run: async ({ client, node, signal }) => {
      let connected = 0;
      const count = (): void => {
        connected += 1;
      };
      subscribe('undici:client:connected', count);
      for (let n = 0; n < 20; n++) {
        await client.request(readRequest('/nodes/{node}/qemu', { node }), signal);
      }
      unsubscribe('undici:client:connected', count);
      assert.ok(connected <= 1, `20 lists took ${connected} new connections`);
    },
  },
  {
    name: 'a parameter PVE does not know is refused by name',
    run: async ({ client, signal }) => {
      const reply = await client.request(readRequest('/version', {}, { bogus: 1 }), signal);
      assert.equal(reply.kind, 'failure');
      if (reply.kind !== 'failure') return;
      assert.equal(reply.status, 400);
      assert.ok(reply.errors['bogus'] !== undefined, reply.problem.message);
    },
  },
  {
    name: 'a certificate that is not the pinned one is not trusted',
    run: async ({ withWrong, signal }) => {
      const client = withWrong('fingerprint');
      const reply = await client.request(readRequest('/version'), signal);
      await client.close();
      assert.equal(reply.kind, 'failure');
      if (reply.kind === 'failure') assert.equal(reply.problem.code, 'tls_untrusted');
    },
  },
  {
    name: 'a wrong secret is refused once, and then not sent again',
    run: async ({ withWrong, signal }) => {
      const client = withWrong('secret');
      const first = await client.request(readRequest('/version'), signal);
      const second = await client.request(readRequest('/version'), signal);
      await client.close();
      for (const reply of [first, second]) {
        assert.equal(reply.kind, 'failure');
        if (reply.kind === 'failure') assert.equal(reply.problem.code, 'unauthorized');
      }
      if (second.kind === 'failure') assert.equal(second.status, null);
    },
  },
];

function observe({
  proxmox,
  signal,
}: Context): ReturnType<Context['proxmox']['guests']['observe']> {
  return proxmox.guests.observe({ configs: new Set(), wanted: new Set() }, signal);
}

export function lookAt(
  { proxmox, signal }: Context,
  guest: Pick<Guest, 'vmid' | 'kind'>,
): Promise<LookResult> {
  return proxmox.guests.look(
    {
      guest,
      sinceMs: performance.now(),
      tasksSinceMs: performance.now(),
      config: true,
      details: true,
    },
    signal,
  );
}

/** What a value says is wrong with it, for a failed claim. */
export function told(value: object): string {
  return JSON.stringify(value);
}
