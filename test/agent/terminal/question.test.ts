import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { askYesNo } from '../../../src/agent/terminal/question.ts';

function ask(keys: string, signal = new AbortController().signal): Promise<boolean> {
  const input = new PassThrough();
  const asked = askYesNo('Apply? ', { input, output: new PassThrough(), signal });
  input.write(keys);
  return asked;
}

test.each([
  ['y\r', true],
  ['Yes\r', true],
  ['\r', false],
  ['yeah\r', false],
  ['\u0004', false],
])('%j is %j', async (keys, answer) => {
  expect(await ask(keys)).toBe(answer);
});

test('Ctrl-C is an interrupt and not a bug', async () => {
  await expect(ask('\u0003')).rejects.toMatchObject({ code: 'interrupted' });
});

test('input that ends is a no', async () => {
  const input = new PassThrough();
  const { signal } = new AbortController();
  const asked = askYesNo('Apply? ', { input, output: new PassThrough(), signal });
  input.end();
  expect(await asked).toBe(false);
});

test('a signal ends the question with its own reason', async () => {
  const stop = new AbortController();
  const asked = ask('', stop.signal);
  stop.abort(new Error('stopped by SIGTERM'));
  await expect(asked).rejects.toThrow('stopped by SIGTERM');
});
