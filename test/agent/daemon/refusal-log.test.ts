import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { createLog } from '../../../src/agent/daemon/log.ts';
import { createRefusalLogger, type Refusal } from '../../../src/agent/daemon/refusal-log.ts';
import { createTerminal } from '../../../src/agent/terminal/terminal.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

function refusal(more: Partial<Refusal>): Refusal {
  return {
    code: 'signature_invalid',
    message: 'no',
    keyids: ['hub-1'],
    peer: '192.0.2.7',
    ids: { request_id: 'request-1' },
    ...more,
  };
}

function setUp() {
  const err = new PassThrough();
  const log = createLog(createTerminal({ out: new PassThrough(), err }, {}).err);
  const clock = new VirtualClock();
  const logged = (): Record<string, unknown>[] =>
    String(err.read() ?? '')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  return { clock, logged, refused: createRefusalLogger(log, clock) };
}

test('a refused op is a line with who sent it, under what keys, and what it was answered by', () => {
  const { refused, logged } = setUp();
  refused(refusal({}));
  refused(refusal({ code: 'expired', peer: 'https://hub', ids: { event_id: '9' } }));
  expect(logged()).toEqual([
    {
      level: 'warn',
      time: expect.any(String),
      code: 'signature_invalid',
      keyids: ['hub-1'],
      peer: '192.0.2.7',
      request_id: 'request-1',
      message: 'signed op refused: no',
    },
    expect.objectContaining({ code: 'expired', peer: 'https://hub', event_id: '9' }),
  ]);
});

test('a line is short, whatever was sent', () => {
  const { refused, logged } = setUp();
  const [text, keyids] = ['x'.repeat(100_000), Array.from({ length: 16 }, () => 'q'.repeat(128))];
  refused(refusal({ message: text, keyids, ids: { event_id: text } }));
  expect(JSON.stringify(logged()).length).toBeLessThan(1_200);
});

test('a flood is ten lines a minute, hides no other code, and is counted in the next line', async () => {
  const { clock, refused, logged } = setUp();
  for (let i = 0; i < 500; i++) refused(refusal({}));
  refused(refusal({ code: 'forbidden' }));
  expect(logged().map(({ code }) => code)).toEqual([
    ...Array.from({ length: 10 }, () => 'signature_invalid'),
    'forbidden',
  ]);
  await clock.advanceTo(clock.elapsedMs + 60_000);
  refused(refusal({}));
  refused(refusal({}));
  const [first, second] = logged();
  expect(first).toMatchObject({ not_logged: 490 });
  expect(second).not.toHaveProperty('not_logged');
});
