/** Times for people and documents. */

/** The last one that RFC 3339 has a year for. */
const LATEST_MS = Date.parse('9999-12-31T23:59:59.999Z');

/**
 * RFC 3339 of a wall clock time that came from outside, ms. A journal may hold one, from before
 * holds had a bound, that no date can be made of: it is shown as the last one there is.
 */
export function timeText(ms: number): string {
  return new Date(Math.min(ms, LATEST_MS)).toISOString();
}
