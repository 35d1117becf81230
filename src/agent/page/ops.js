/** Ops: those in flight, live and step by step, and the last ones with their story. */
import { read } from './connection.js';
import { byId, drawnSoon, el, guestLabel, printable, sync } from './dom.js';
import { findGuest, onGuest } from './guests.js';
import { duration, now, timeElement } from './time.js';

/** What is shown of history at once; the button brings more, up to `SHOWN_MAX`. */
const PAGE = 50;
const SHOWN_MAX = 500;
/** So many that come live are shown beside that, before the oldest are forgotten. */
const LIVE_SLACK = 100;

const more = byId('ops-more');
const older = byId('ops-older');
/** By op id: the records known, oldest first, and what is drawn of it. */
const ops = new Map();
const draw = drawnSoon(drawAll);
/** The op that older ones come after; null: there are none. */
let next = null;

export async function beginOps() {
  more.addEventListener('click', () => void loadPage(next));
  onGuest(noteGuest);
  setInterval(drawTimes, 500);
  await loadPage(null);
  const inFlight = await read('/v1/ops?state=in_flight&limit=200');
  for (const op of inFlight.ops) takeOp(op);
  for (const op of inFlight.ops) void loadRecords(op.op_id);
}

/** One that comes live. */
export function takeRecord(record) {
  keep(record);
  forgetOldest();
}

function keep(record) {
  const op = ops.get(record.op_id) ?? newOp();
  if (op.records.some(({ seq }) => seq === record.seq)) return;
  op.records.push(record);
  op.records.sort((a, b) => a.seq - b.seq);
  op.isDirty = true;
  ops.set(record.op_id, op);
  draw();
}

/** An op shows its guest's name, and while it is in flight why it waits. */
function noteGuest(vmid) {
  const name = findGuest(vmid)?.name;
  for (const op of ops.values()) {
    if (op.records[0].vmid !== vmid || (isOver(op) && op.shownName === name)) continue;
    op.isDirty = true;
    draw();
  }
}

function takeOp(document) {
  for (const record of document.records) keep(record);
}

function newOp() {
  return { records: [], card: null, story: null, isWhole: false, isDirty: true, shownName: null };
}

function forgetOldest() {
  if (ops.size <= SHOWN_MAX + LIVE_SLACK) return;
  const ended = newestFirst().filter((op) => isOver(op));
  const forgotten = ended.slice(SHOWN_MAX);
  if (forgotten.length === 0) return;
  for (const { records } of forgotten) ops.delete(records[0].op_id);
  next = ended[SHOWN_MAX - 1].records[0].op_id;
  showMore();
}

/** Beyond what a page is good for, the command line has them. */
function showMore() {
  const isFull = ops.size >= SHOWN_MAX;
  more.hidden = next === null || isFull;
  older.hidden = next === null || !isFull;
}

async function loadPage(after) {
  const query = after === null ? '' : `&after=${after}`;
  const json = await read(`/v1/ops?limit=${PAGE}${query}`);
  for (const op of json.ops) takeOp(op);
  next = json.next;
  showMore();
}

async function loadRecords(opId) {
  const op = ops.get(opId);
  if (op === undefined || op.isWhole) return;
  op.isWhole = true;
  const json = await read(`/v1/ops/${opId}`);
  takeOp(json);
}

function latestOf({ records }) {
  return records[records.length - 1];
}

function isOver(op) {
  const { state } = latestOf(op);
  return state === 'succeeded' || state === 'failed';
}

function newestFirst() {
  return [...ops.values()].sort((a, b) => latestOf(b).seq - latestOf(a).seq);
}

function drawAll() {
  const all = newestFirst();
  const under = all.filter((op) => !isOver(op)).reverse();
  sync(
    byId('flight-list'),
    under.map((op) => drawCard(op)),
  );
  byId('flight-count').textContent = under.length === 0 ? '' : `${under.length}`;
  byId('flight-none').hidden = under.length > 0;
  sync(
    byId('op-list'),
    all.map((op) => drawStory(op)),
  );
  for (const op of all) op.isDirty = false;
}

const STATE_CLASS = { succeeded: 'good', failed: 'bad', received: 'quiet' };

function stateClass(state) {
  return STATE_CLASS[state] ?? 'busy';
}

export function actionText({ kind, params }) {
  if (params === undefined) return kind;
  if (params.set !== undefined) {
    const keys = [...Object.keys(params.set), ...params.delete.map((key) => `-${key}`)];
    return `${kind} (${printable(keys.join(', '))})`;
  }
  if (params.mode === undefined) return kind;
  const how = params.mode === 'stop' ? 'hard' : `${params.mode}, ${params.timeout_s} s`;
  return `${kind} (${how}${params.force ? ', then hard' : ''})`;
}

function drawCard(op) {
  const latest = latestOf(op);
  const { vmid, op_id: opId, state } = latest;
  const guest = findGuest(vmid);
  const wait = guest?.last_op?.op_id === opId ? guest.waiting_for : null;
  if (op.card !== null && !op.isDirty) return op.card;
  op.card ??= el('li', { class: 'card', 'data-op': opId });
  op.card.classList.toggle('waits', wait !== null && wait?.code !== 'task_running');
  op.card.replaceChildren(
    el(
      'h3',
      null,
      el('span', null, guestLabel(vmid, guest?.name), ` · ${actionText(op.records[0])}`),
      el(
        'time',
        { class: stateClass(state), 'data-since': op.records[0].at },
        sinceText(op.records[0].at),
      ),
    ),
    el(
      'p',
      { class: stateClass(state) },
      latest.attempt > 1 ? `${state}, attempt ${latest.attempt}` : state,
    ),
    wait === null || wait === undefined ? '' : waitLine(wait),
    stepList(op.records),
  );
  return op.card;
}

function waitLine({ code, message, until }) {
  // That PVE works on it is no waiting.
  if (code === 'task_running') return el('p', { class: 'quiet' }, message);
  const leftMs = until === undefined ? 0 : Date.parse(until) - now();
  const again = leftMs > 0 ? `; looked at again in ${duration(leftMs)}` : '';
  return el('p', { class: 'warn' }, `waits: ${printable(message)}${again}`);
}

function sinceText(at) {
  return duration(now() - Date.parse(at));
}

function drawTimes() {
  for (const element of document.querySelectorAll('[data-since]')) {
    element.textContent = sinceText(element.dataset.since);
  }
}

export function stepList(records) {
  let previousMs = null;
  const steps = records.map((record) => {
    const atMs = Date.parse(record.at);
    const step = previousMs === null ? timeElement(record.at) : `+${duration(atMs - previousMs)}`;
    previousMs = atMs;
    const log = [...(record.observed?.warnings ?? []), ...(record.observed?.log ?? [])];
    return el(
      'li',
      null,
      el('span', { class: 'quiet' }, step),
      el('span', { class: stateClass(record.state) }, record.state),
      el('span', null, recordText(record)),
      log.length === 0 ? null : el('pre', null, log.map(printable).join('\n')),
    );
  });
  return el('ol', { class: 'steps' }, steps);
}

/** What a record adds, in words. */
function recordText({ state, upid, before, error, observed, exit_status: exit }) {
  const parts = [];
  if (state === 'task_running' && upid !== undefined) parts.push(upid);
  if (state === 'started' && before !== undefined) parts.push(`guest was ${before.power}`);
  if (exit !== undefined) parts.push(`PVE: ${exit}`);
  if (error !== undefined) parts.push(`[${error.code}] ${error.message}`);
  if (observed?.power !== undefined) parts.push(`seen ${observed.power}`);
  if (observed?.pending?.length > 0)
    parts.push(`waits for a restart: ${observed.pending.join(', ')}`);
  if (observed?.note !== undefined) parts.push(observed.note);
  return printable(parts.join('; '));
}

function drawStory(op) {
  const latest = latestOf(op);
  const { vmid, op_id: opId, state, origin, error } = latest;
  if (op.story === null) {
    op.story = el('details', { 'data-op': opId });
    op.story.addEventListener('toggle', () => {
      if (!op.story.open) return;
      op.isDirty = true;
      void loadRecords(opId);
      draw();
    });
  } else if (!op.isDirty) return op.story;
  op.shownName = findGuest(vmid)?.name;
  const { open } = op.story;
  op.story.replaceChildren(
    el(
      'summary',
      null,
      timeElement(latest.at),
      guestLabel(vmid, op.shownName),
      el('span', null, actionText(op.records[0])),
      el('span', { class: stateClass(state) }, state),
      el('span', { class: 'why' }, error === undefined ? origin : printable(error.message)),
    ),
    el(
      'div',
      null,
      el(
        'p',
        { class: 'quiet mono' },
        opId,
        latest.actor === undefined ? '' : `, asked for by ${printable(latest.actor)}`,
      ),
      open ? stepList(op.records) : '',
    ),
  );
  return op.story;
}
