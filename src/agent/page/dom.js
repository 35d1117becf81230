/**
 * Elements from values. Text goes in as text, never as markup: names and messages are chosen by
 * others.
 */

/** `el('p', { class: 'quiet' }, 'text', child)`; null and undefined children are left out. */
export function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Makes an element's children those of `items`, keeping the elements that stay. */
export function sync(parent, elements) {
  let next = parent.firstChild;
  for (const element of elements) {
    if (element === next) next = next.nextSibling;
    else parent.insertBefore(element, next);
  }
  while (next !== null) {
    const { nextSibling } = next;
    next.remove();
    next = nextSibling;
  }
}

/** Nobody reads faster; in between the browser has time for the person. */
const DRAW_EVERY_MS = 100;

/** Draws soon, and at most ten times a second, however often it is asked to. */
export function drawnSoon(draw) {
  let isDue = false;
  let drawnMs = 0;
  return () => {
    if (isDue) return;
    isDue = true;
    const inMs = Math.max(0, drawnMs + DRAW_EVERY_MS - performance.now());
    setTimeout(() => {
      requestAnimationFrame(() => {
        isDue = false;
        drawnMs = performance.now();
        draw();
      });
    }, inMs);
  };
}

/** Name of a guest, apart from the direction of the text around it. */
export function guestLabel(vmid, name) {
  return name === null || name === undefined
    ? `${vmid}`
    : el('span', null, `${vmid} `, el('bdi', null, printable(name)));
}

const HELD = { on_hold: 'on hold: ', flapping: 'flapping: ' };

/** The reason of a hold says who or what, and not that it is one. */
export function conditionText({ code, message }) {
  return `${HELD[code] ?? ''}${message}`;
}

/** Control characters and direction overrides are shown as escapes. */
export function printable(text) {
  return String(text).replace(
    /[\p{Cc}\u2028\u2029\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/gu,
    (character) => `\\u${character.codePointAt(0).toString(16).padStart(4, '0')}`,
  );
}
