/** One guest in full, in a dialog that follows it while it is open. */
import { read } from './connection.js';
import { byId, el, guestLabel, printable } from './dom.js';
import { findGuest, onGuest } from './guests.js';
import { actionText } from './ops.js';
import { diffOf } from './plan.js';
import { timeElement } from './time.js';

const OPS_SHOWN = 10;

const dialog = byId('detail');
const body = byId('detail-body');
let shown = null;

export function beginDetail() {
  onGuest((vmid) => {
    if (dialog.open && vmid === shown) void fill(vmid);
  });
}

export function openDetail(vmid) {
  shown = vmid;
  body.replaceChildren();
  void fill(vmid);
  if (!dialog.open) dialog.showModal();
}

async function fill(vmid) {
  const guest = findGuest(vmid);
  if (guest === undefined) return;
  byId('detail-title').replaceChildren(guestLabel(vmid, guest.name));
  const ops = await read(`/v1/ops?vmid=${vmid}&limit=${OPS_SHOWN}`).catch(() => null);
  if (shown !== vmid) return;
  body.replaceChildren(
    facts(guest),
    el('h2', null, 'Differences'),
    guest.changes.length === 0
      ? el('p', { class: 'quiet' }, 'Its config is as wanted.')
      : el('div', null, guest.changes.map(diffOf)),
    el('h2', null, 'Last ops'),
    ops === null || ops.ops.length === 0
      ? el('p', { class: 'quiet' }, 'None in the journal.')
      : el('ol', { class: 'steps' }, ops.ops.map(opLine)),
  );
}

function facts(guest) {
  const { desired, actual, hold, waiting_for: wait, conditions } = guest;
  const entries = [
    ['Kind', guest.kind],
    ['Desired', desired === null ? 'nothing' : `${desired.power}, ${desired.mode}`],
    ['From', desired?.source],
    ['Actual', actual === null ? 'not on this node' : actual.power],
    ['Lock', actual?.lock],
    ['HA', actual?.ha_state],
    ['Tags', actual?.tags.join(', ')],
    ['Up since', actual?.booted_at],
    ['Phase', guest.phase],
    ['Waits', wait === null ? null : wait.message],
    [
      'On hold',
      hold === null ? null : `${hold.reason}${hold.until === null ? '' : `, until ${hold.until}`}`,
    ],
    ...conditions.map(({ code, message }) => [code, message]),
  ];
  const given = entries.filter(
    ([, value]) => value !== null && value !== undefined && value !== '',
  );
  return el(
    'dl',
    null,
    given.flatMap(([name, value]) => [el('dt', null, name), el('dd', null, printable(value))]),
  );
}

function opLine(op) {
  const { error, phase_since: at, state } = op;
  return el(
    'li',
    null,
    timeElement(at),
    el('span', { class: state === 'failed' ? 'bad' : 'quiet' }, state),
    el('span', null, actionText(op), error === undefined ? '' : `: ${printable(error.message)}`),
  );
}
