/** Times as people read them, on the agent's clock: the browser may be elsewhere. */

let offsetMs = 0;

/** `agentNow`: the agent's time as it answered a moment ago. */
export function learnClock(agentNow) {
  const apartMs = Date.parse(agentNow) - Date.now();
  // Less is what the answer took to come.
  if (Number.isFinite(apartMs)) offsetMs = Math.abs(apartMs) < 1_000 ? 0 : apartMs;
}

export function now() {
  return Date.now() + offsetMs;
}

/** `0.4 s`, `12 s`, `4 m 03 s`, `2 h 05 m`. */
export function duration(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${pad(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${pad((seconds % 3600) / 60)} m`;
}

function pad(value) {
  return String(Math.floor(value)).padStart(2, '0');
}

/** The time of day; with the date where it is another day. */
export function clockTime(at) {
  const date = new Date(at);
  const time = date.toLocaleTimeString([], { hour12: false });
  const isToday = date.toDateString() === new Date(now()).toDateString();
  return isToday ? time : `${date.toLocaleDateString()} ${time}`;
}

export function timeElement(at) {
  const element = document.createElement('time');
  element.dateTime = at;
  element.title = at;
  element.textContent = clockTime(at);
  return element;
}
