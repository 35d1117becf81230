/** The page: it only reads. Everything comes over one stream of events, from all guests on. */
import { connect, read } from './connection.js';
import { beginDetail, openDetail } from './detail.js';
import { byId, drawnSoon, el, printable } from './dom.js';
import { allGuests, beginGuests, keepOnly, moveFocus, onGuest, takeGuest } from './guests.js';
import { beginOps, takeRecord } from './ops.js';
import { beginPlan, forgetLook } from './plan.js';
import { clockTime, learnClock, now } from './time.js';

const AGENT_EVERY_MS = 10_000;
const SECTIONS = ['flight', 'guests', 'plan', 'ops'];

/** Guests told of since the connection was made; null once they are all there. */
let told = null;
let lastHeardMs = now();

function showConnection(isOnline) {
  document.body.classList.toggle('offline', !isOnline);
  const banner = byId('offline');
  banner.hidden = isOnline;
  if (isOnline) return;
  const at = clockTime(new Date(lastHeardMs).toISOString());
  banner.textContent = `The connection to the agent is lost. What you see is from ${at}; trying again.`;
}

function heard() {
  lastHeardMs = now();
}

const drawSummary = drawnSoon(() => {
  const wanted = allGuests().filter(({ status }) => status !== null);
  const counts = { drift: 0, unknown: 0, skipped: 0, in_sync: 0 };
  for (const { status } of wanted) counts[status] += 1;
  const parts = [
    [counts.drift, counts.drift === 1 ? 'differs' : 'differ'],
    [counts.unknown, 'unknown'],
    [counts.skipped, 'left alone'],
  ].filter(([count]) => count > 0);
  const isInSync = parts.length === 0;
  const summary = byId('summary');
  summary.textContent = isInSync
    ? `In sync: ${wanted.length === 1 ? 'the one wanted guest' : `all ${wanted.length} wanted guests`}`
    : `Not in sync: ${parts.map(([count, what]) => `${count} ${what}`).join(', ')}`;
  summary.className = isInSync ? 'good' : 'warn';
  document.title = isInSync
    ? 'in sync · pve-reconciler'
    : `${counts.drift} ${counts.drift === 1 ? 'differs' : 'differ'} · pve-reconciler`;
});

async function showAgent() {
  const json = await read('/v1/agent').catch(() => null);
  if (json === null) return;
  learnClock(json.now);
  const { agent, node, version, pause, parts, readiness, last_pass: pass } = json;
  byId('agent').textContent = agent === node ? agent : `${agent} on ${node}`;
  byId('agent').title = `pve-reconciler ${version}`;
  byId('looked').textContent = pass === null ? 'not looked yet' : `as of ${clockTime(pass.at)}`;
  byId('health').replaceChildren(
    el('li', { class: readiness.ready ? null : 'bad', title: reasonsText(readiness) }, 'agent'),
    ...parts.map(({ name, ok, message }) =>
      el(
        'li',
        { class: ok ? null : 'bad', title: printable(message) },
        ok ? name : `${name}: ${printable(message)}`,
      ),
    ),
  );
  const paused = byId('paused');
  paused.hidden = !pause.paused;
  const until =
    pause.until === null ? 'until somebody resumes it' : `until ${clockTime(pause.until)}`;
  paused.textContent = pause.paused
    ? `Reconciling is paused ${until}: ${printable(pause.reason)}`
    : '';
}

function reasonsText({ ready, reasons }) {
  return ready ? 'ready' : reasons.map(({ message }) => printable(message)).join('; ');
}

function onKey(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const filter = byId('filter');
  if (key === 'Escape' && target === filter) {
    filter.value = '';
    filter.dispatchEvent(new Event('input'));
    filter.blur();
  }
  if (target instanceof HTMLInputElement || document.querySelector('dialog[open]') !== null) return;
  if (key === '/') {
    event.preventDefault();
    filter.focus();
  }
  if (key === 'j') moveFocus(1);
  if (key === 'k') moveFocus(-1);
  if (key === '?') byId('keys').showModal();
  const section = SECTIONS[Number(key) - 1];
  if (section !== undefined) location.hash = section;
}

function beginTheme() {
  const root = document.documentElement;
  root.dataset.theme = localStorage.getItem('theme') ?? '';
  byId('theme').addEventListener('click', () => {
    const isDark =
      root.dataset.theme === ''
        ? matchMedia('(prefers-color-scheme: dark)').matches
        : root.dataset.theme === 'dark';
    root.dataset.theme = isDark ? 'light' : 'dark';
    localStorage.setItem('theme', root.dataset.theme);
  });
}

beginTheme();
beginGuests(openDetail);
beginPlan();
beginDetail();
onGuest(drawSummary);
document.addEventListener('keydown', onKey);
byId('help').addEventListener('click', () => byId('keys').showModal());
void showAgent();
setInterval(showAgent, AGENT_EVERY_MS);
void beginOps();
connect({
  online() {
    told = new Set();
    showConnection(true);
    void showAgent();
  },
  offline: () => showConnection(false),
  handlers: {
    op(record) {
      heard();
      takeRecord(record);
    },
    guest(guest) {
      heard();
      told?.add(guest.vmid);
      takeGuest(guest);
    },
    pass() {
      heard();
      if (told !== null) keepOnly(told);
      told = null;
      forgetLook();
    },
    reset: () => location.reload(),
  },
});
