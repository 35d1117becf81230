/** Readings of the journal take turns. */
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { createReadingTurns } from '../../../src/agent/control/reading-turns.ts';

import { openControlWorld } from './control-world.ts';

const { signal } = new AbortController();

test('two read at once, others wait in line, and who finds it full is told to come again', async () => {
  const turns = createReadingTurns();
  const ending = Promise.withResolvers<void>();
  let begun = 0;
  const read = (): Promise<void> => {
    begun += 1;
    return ending.promise;
  };
  const all = Array.from({ length: 34 }, () => turns.take(read, signal));
  await expect(turns.take(read, signal)).rejects.toMatchObject({ code: 'service_unavailable' });
  expect(begun).toBe(2);
  ending.resolve();
  await Promise.all(all);
  expect(begun).toBe(34);
});

test("a stream waits its turn in a full line, and takes nobody else's place in it", async () => {
  const turns = createReadingTurns();
  const ending = Promise.withResolvers<void>();
  const streams = Array.from({ length: 64 }, () => turns.wait(() => ending.promise, signal));
  const all = Array.from({ length: 34 }, () => turns.take(() => ending.promise, signal));
  const last = turns.wait(async () => 'read', signal);
  await expect(turns.take(async () => 'read', signal)).rejects.toThrow('too many readings');
  ending.resolve();
  await Promise.all([...streams, ...all]);
  expect(await last).toBe('read');
  expect(await turns.take(async () => 'read', signal)).toBe('read');
});

test('who goes leaves the line, and never reads', async () => {
  const turns = createReadingTurns();
  const ending = Promise.withResolvers<void>();
  const gone = new AbortController();
  const never = (): Promise<void> => Promise.reject(new Error('read'));
  const readers = Array.from({ length: 2 }, () => turns.take(() => ending.promise, signal));
  const waiting = Array.from({ length: 32 }, () => turns.take(never, gone.signal));
  gone.abort(new Error('gone'));
  const answers = await Promise.allSettled(waiting);
  const reasons = answers.map((answer) => answer.status === 'rejected' && answer.reason);
  expect(reasons).toEqual(waiting.map(() => new Error('gone')));
  const next = turns.take(async () => 'read', signal);
  ending.resolve();
  expect(await next).toBe('read');
  await Promise.all(readers);
});

test('a crowd that reads the journal waits, and beyond that is told to come again', async () => {
  await using world = await openControlWorld({
    addresses: { listen: { host: '127.0.0.1', port: 0 } },
  });
  const port = world.server.ports.listen ?? 0;
  const socket = connect({ port, host: '127.0.0.1' });
  const head = 'GET /v1/ops HTTP/1.1\r\nhost: localhost\r\n';
  socket.write(`${`${head}\r\n`.repeat(59)}${head}connection: close\r\n\r\n`);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  const statuses = [...text.matchAll(/HTTP\/1.1 (\d+)/g)].map(([, status]) => status);
  expect(statuses.filter((status) => status === '200')).toHaveLength(34);
  expect(statuses.filter((status) => status === '503')).toHaveLength(26);
  expect(text).toContain('retry-after: 1\r\n');
  expect(text).toContain('"code":"service_unavailable"');
});
