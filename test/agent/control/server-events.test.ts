import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { EventParser, type ServerEvent } from '../../../src/agent/control/server-events.ts';

const EVENT_MAX_CHARS = 256 * 1024;

/** The stream's events, its bytes cut into pieces of this size. */
function parse(text: string, size: number): readonly ServerEvent[] {
  const bytes = Buffer.from(text);
  const parser = new EventParser({ maxChars: EVENT_MAX_CHARS });
  const events: ServerEvent[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    events.push(...(parser.push(bytes.subarray(at, at + size)) ?? []));
  }
  return events;
}

const STREAM = `\uFEFF: welcome

id: 1
event: op
data: {"a":
data:  "☕"}

data
id
retry: 10

event: op

id: 7

data:x
id: \u0000

`;

const EVENTS = [
  { type: 'op', data: '{"a":\n "☕"}', id: '1' },
  { type: 'message', data: '', id: '' },
  { type: 'message', data: 'x', id: '7' },
];

test.each([
  ['\\n', '\n'],
  ['\\r\\n', '\r\n'],
  ['\\r', '\r'],
])('lines that end with %s, cut anywhere', (_name, end) => {
  const text = STREAM.replaceAll('\n', end);
  // A carriage return at the end may be half an end: the stream goes on.
  const sizes = fc.integer({ min: 1, max: 90 });
  fc.assert(
    fc.property(sizes, (size) => {
      expect(parse(`${text}:more${end}`, size)).toEqual(EVENTS);
    }),
  );
});

test.each([
  ['one line that never ends', 'data: ', 'x'],
  ['an event that never ends', '', 'data: x\n'],
])('%s is given up', (_name, start, again) => {
  const parser = new EventParser({ maxChars: EVENT_MAX_CHARS });
  let pushed = parser.push(Buffer.from(start));
  let bytes = 0;
  while (pushed !== null && bytes < 4 * EVENT_MAX_CHARS) {
    const piece = Buffer.from(again.repeat(1_000));
    pushed = parser.push(piece);
    bytes += piece.length;
  }
  expect(pushed).toBeNull();
});
