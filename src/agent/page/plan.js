/** The plan as a coloured diff: as of the last pass, live, or looked for now. */
import { read } from './connection.js';
import { byId, conditionText, drawnSoon, el, guestLabel, printable, sync } from './dom.js';
import { allGuests, driftOf, onGuest } from './guests.js';

const list = byId('plan-list');
const note = byId('plan-note');
const button = byId('plan-now');
const draw = drawnSoon(drawLive);
/** More differences than this are a list nobody reads: the filter of the guests finds one. */
const SHOWN_MAX = 200;
/** By guest as it came: drawn once, however often the list is. */
const drawn = new WeakMap();
/** What was looked for, while it is newer than the last pass. */
let looked = null;

export function beginPlan() {
  onGuest(draw);
  button.addEventListener('click', () => void lookNow());
}

/** A pass has made a newer plan. */
export function forgetLook() {
  looked = null;
  note.textContent = 'What differs, as of the last pass.';
  draw();
}

async function lookNow() {
  button.disabled = true;
  note.textContent = 'Looking at the node …';
  try {
    const json = await read('/v1/plan');
    looked = json.guests;
    note.textContent = `As of ${new Date().toLocaleTimeString([], { hour12: false })}.`;
  } catch (error) {
    note.textContent = `That did not work: ${error.message}`;
  }
  button.disabled = false;
  draw();
}

function drawLive() {
  const guests = looked ?? allGuests().filter(({ desired }) => desired !== null);
  const differing = guests.filter(({ status }) => status !== 'in_sync');
  sync(
    list,
    differing.length === 0
      ? [el('p', { class: 'good' }, 'No difference: every wanted guest is as it should be.')]
      : [...differing.slice(0, SHOWN_MAX).map(entryOf), moreOf(differing.length - SHOWN_MAX)],
  );
}

function moreOf(count) {
  return el('p', { class: 'quiet' }, count > 0 ? `and ${count} more` : '');
}

function entryOf(guest) {
  const known = drawn.get(guest) ?? drawEntry(guest);
  drawn.set(guest, known);
  return known;
}

function drawEntry(guest) {
  const { vmid, name, changes, conditions } = guest;
  const [text, className] = driftOf(guest);
  return el(
    'article',
    { class: 'card', 'data-vmid': vmid },
    el('h3', null, guestLabel(vmid, name), el('span', { class: className }, text)),
    powerDiff(guest),
    changes.map(diffOf),
    conditions.map((each) => el('p', { class: 'warn' }, printable(conditionText(each)))),
  );
}

/** A plan's entry and a guest of the stream say it in two ways. */
function powerDiff({ power, desired, actual }) {
  const wanted = power?.desired ?? desired?.power;
  const is = power === undefined ? actual?.power : power.actual;
  if (is === undefined || is === null || (wanted !== 'running' && wanted !== 'stopped'))
    return null;
  return wanted === is ? null : lines('power', is, wanted);
}

export function diffOf({ key, current, desired, pending, is_written: isWritten }) {
  const notes = [
    ...(pending === undefined ? [] : [`pending: ${pending === null ? 'a delete' : pending}`]),
    ...(isWritten ? ['written, waits for a restart'] : []),
  ];
  return lines(key, current, desired, notes);
}

function lines(key, current, desired, notes = []) {
  const line = (sign, value, className) =>
    value === null ? null : el('div', { class: className }, printable(`${sign} ${key}: ${value}`));
  return el(
    'div',
    { class: 'diff' },
    line('-', current, 'removed'),
    line('+', desired, 'added'),
    notes.map((text) => el('div', { class: 'note' }, printable(`  ${text}`))),
  );
}
