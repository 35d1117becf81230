/** /nodes/{node}/qemu and /lxc: lists, config, pending, status and power. */
import { internalError } from './api-error.ts';
import { type Call, KINDS, ok, type Result, type Routes } from './call.ts';
import { configView, pendingView } from './config-views.ts';
import { type Guest, type GuestKind, haSid, noun } from './guest.ts';
import { listRow, statusRow } from './guest-rows.ts';
import { type PowerAction, requestPower } from './power.ts';
import { hasPrivilege } from './principal.ts';
import { postConfig, putConfig } from './set-config.ts';

const POWER: Readonly<Record<GuestKind, readonly PowerAction[]>> = {
  qemu: ['start', 'stop', 'reset', 'shutdown', 'suspend', 'resume', 'reboot'],
  lxc: ['start', 'stop', 'shutdown', 'suspend', 'resume', 'reboot'],
};

const QEMU_SUBDIRS =
  'config cloudinit pending status unlink vncproxy termproxy migrate resize move rrd rrddata ' +
  'monitor agent snapshot spiceproxy sendkey firewall mtunnel remote_migrate';
const LXC_SUBDIRS =
  'config pending status vncproxy termproxy vncwebsocket spiceproxy migrate clone initlog rrd ' +
  'rrddata firewall snapshot resize interfaces';

const STATUS_SUBDIRS: Readonly<Record<GuestKind, string>> = {
  qemu: 'current start stop reset shutdown suspend reboot',
  lxc: 'current start stop shutdown suspend resume reboot',
};

/** Without VM.Audit a guest is left out: an empty list is not absence (PVE-FACTS 10). */
function visibleGuests(call: Call, kind: GuestKind): Guest[] {
  return call.node
    .guestsOf(kind)
    .filter((guest) => hasPrivilege(call.principal, `/vms/${guest.vmid}`, 'VM.Audit'));
}

function subdirs(names: string): Result {
  return ok(names.split(' ').map((subdir) => ({ subdir })));
}

function routesOf(kind: GuestKind): Routes {
  const base = `/nodes/{node}/${kind}`;
  const one = `${base}/{vmid}`;
  const guestOf = (call: Call): Guest => call.node.requireGuest(kind, call.params.vmid);
  const power = POWER[kind].map((action) => [
    `POST ${one}/status/${action}`,
    (call: Call) => ok(requestPower(call, kind, action)),
  ]);
  return {
    [`GET ${base}`]: (call) =>
      ok(
        visibleGuests(call, kind).map((guest) =>
          listRow(guest, call.node.clock.monotonicMs(), call.params.flag('full')),
        ),
      ),
    [`GET ${one}`]: () => subdirs(kind === 'qemu' ? QEMU_SUBDIRS : LXC_SUBDIRS),
    [`DELETE ${one}`]: (call) => ok(destroyGuest(call, guestOf(call))),
    [`GET ${one}/config`]: (call) => ok(configView(guestOf(call), call.params.flag('current'))),
    [`PUT ${one}/config`]: async (call) => ok(await putConfig(call, kind)),
    [`GET ${one}/pending`]: (call) => ok(pendingView(guestOf(call))),
    // QEMU's index leaves out `resume` (transcript status_current).
    [`GET ${one}/status`]: () => subdirs(STATUS_SUBDIRS[kind]),
    [`GET ${one}/status/current`]: (call) => {
      const guest = guestOf(call);
      return ok(
        statusRow(guest, call.node.clock.monotonicMs(), call.node.ha.guestState(haSid(guest))),
      );
    },
    ...Object.fromEntries(power),
  };
}

/** Only what is refused is simulated in detail; a destroy is an immediate one. */
function destroyGuest(call: Call, guest: Guest): string {
  const sid = haSid(guest);
  if (call.node.ha.isManaged(sid) && !call.params.flag('purge')) {
    const why = 'used in HA resources and purge parameter not set.';
    throw internalError(`unable to remove ${noun(guest.kind)} ${guest.vmid} - ${why}`);
  }
  const type = guest.kind === 'qemu' ? 'qmdestroy' : 'vzdestroy';
  const { node, principal } = call;
  return node.tasks.start(type, String(guest.vmid), principal, async () => {
    node.guests.delete(guest.vmid);
  }).upid;
}

export const guestRoutes: Routes = {
  ...Object.assign({}, ...KINDS.map(routesOf)),
  'POST /nodes/{node}/qemu/{vmid}/config': async (call: Call) => ok(await postConfig(call)),
};
