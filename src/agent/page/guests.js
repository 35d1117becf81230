/** The table of guests, the filter above it, and the plan that their drift makes. */
import { byId, conditionText, drawnSoon, el, printable, sync } from './dom.js';
import { clockTime } from './time.js';

const rows = byId('guest-rows');
const filter = byId('filter');
const attention = byId('attention');

/** By vmid: the guest as the agent shows it, its row, and what the filter looks at. */
const guests = new Map();
const draw = drawnSoon(drawTable);
const listeners = new Set();

export function takeGuest(guest) {
  const known = guests.get(guest.vmid);
  if (guest.gone) guests.delete(guest.vmid);
  else {
    const row = known?.row ?? makeRow(guest.vmid);
    guests.set(guest.vmid, { guest, row, text: searchText(guest), isDrawn: false });
  }
  draw();
  for (const listener of listeners) listener(guest.vmid);
}

/** Guests that were not told of since: they have gone while nobody was connected. */
export function keepOnly(vmids) {
  for (const vmid of guests.keys()) if (!vmids.has(vmid)) guests.delete(vmid);
  draw();
}

export function findGuest(vmid) {
  return guests.get(vmid)?.guest;
}

export function allGuests() {
  return [...guests.values()].map(({ guest }) => guest).sort((a, b) => a.vmid - b.vmid);
}

export function onGuest(listener) {
  listeners.add(listener);
}

/** `open`: what a click or Enter does. */
export function beginGuests(open) {
  filter.addEventListener('input', draw);
  attention.addEventListener('change', draw);
  rows.addEventListener('click', ({ target }) => {
    const row = target.closest('tr');
    if (row !== null) open(Number(row.dataset.vmid));
  });
  rows.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    open(Number(event.target.closest('tr').dataset.vmid));
  });
}

export function moveFocus(step) {
  const shown = [...rows.children];
  const at = shown.indexOf(document.activeElement);
  const next = shown[at === -1 ? 0 : Math.min(shown.length - 1, Math.max(0, at + step))];
  next?.focus();
  next?.scrollIntoView({ block: 'nearest' });
}

function makeRow(vmid) {
  return el('tr', { tabindex: 0, 'data-vmid': vmid, 'aria-haspopup': 'dialog' });
}

function fillRow(row, guest) {
  const { desired, actual, last_op: last } = guest;
  const [driftText, driftClass] = driftOf(guest);
  const why = printable(whyOf(guest));
  row.replaceChildren(
    cell(`${guest.vmid}`),
    el('td', null, el('bdi', null, printable(guest.name ?? '–'))),
    cell(desired === null ? '–' : modeText(desired), desired === null ? 'quiet' : null),
    cell(actualText(guest), actual === null ? 'warn' : null),
    cell(driftText, driftClass),
    cell(guest.phase, guest.phase === 'steady' ? 'quiet' : 'busy'),
    el('td', { class: 'why' }, el('div', { title: why }, why)),
    cell(
      last === null ? '' : `${last.kind} ${last.state} ${clockTime(last.at)}`,
      last?.state === 'failed' ? 'bad' : 'quiet',
    ),
  );
}

function cell(text, className) {
  return el('td', { class: className }, text);
}

function modeText({ power, mode }) {
  return mode === 'enforce' ? power : `${power} (${mode})`;
}

function actualText({ actual, status }) {
  // Nobody wants it, and it is there: PVE has shown it.
  if (actual === null) return status === 'unknown' || status === null ? '?' : 'absent';
  const { power, lock, template } = actual;
  if (template) return 'template';
  return lock === null ? power : `${power}, locked: ${lock}`;
}

export function driftOf({ status }) {
  if (status === 'drift') return ['differs', 'warn'];
  if (status === 'in_sync') return ['in sync', 'good'];
  if (status === 'unknown') return ['unknown', 'bad'];
  return [status ?? '–', 'quiet'];
}

/** The one thing that matters most. */
function whyOf({ waiting_for: wait, conditions }) {
  if (wait !== null) return wait.message;
  return conditions.map(conditionText).join('; ');
}

export function needsLook({ status, phase, conditions, last_op: last }) {
  const isAsWanted = status === null || status === 'in_sync';
  return !isAsWanted || phase !== 'steady' || conditions.length > 0 || last?.state === 'failed';
}

function searchText(guest) {
  const { vmid, name, kind, actual, phase, conditions } = guest;
  const words = [vmid, name, kind, phase, guest.status, actual?.power, ...(actual?.tags ?? [])];
  return [...words, ...conditions.map(({ code }) => code)].join(' ').toLowerCase();
}

function drawTable() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const all = [...guests.values()].sort((a, b) => a.guest.vmid - b.guest.vmid);
  const shown = all.filter(
    ({ guest, text }) =>
      words.every((word) => text.includes(word)) && (!attention.checked || needsLook(guest)),
  );
  for (const entry of shown) {
    if (!entry.isDrawn) fillRow(entry.row, entry.guest);
    entry.isDrawn = true;
  }
  sync(
    rows,
    shown.map(({ row }) => row),
  );
  const count = shown.length === all.length ? `${all.length}` : `${shown.length} of ${all.length}`;
  byId('guest-count').textContent = count;
  byId('guests-none').hidden = shown.length > 0;
}
