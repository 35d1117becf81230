import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test, vi } from 'vitest';
import { readOptions, wholeNumber } from './script-options.ts';

async function run(script: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [join(import.meta.dirname, '..', script), ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'close');
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [exit] = await ended;
  return { exit, out, err };
}

test.each<[string, string, NodeJS.ProcessEnv?]>([
  ['sim/main.ts', '--seeds=1', { SEED: 'abc' }],
  ['bench/main.ts', '--only=nothing'],
])('%s runs nothing for %s, and shows how it is used', async (script, arg, env) => {
  const ended = await run(script, [arg], env);
  expect(ended).toMatchObject({ exit: 64, out: '', err: expect.stringMatching(/\nusage: n/) });
});

test.each(['--seeds=abc', '--seeds=0', '--seeds=1.5', '--seeds', '--bogus', 'more'])(
  '%s ends a script with its usage and 64',
  (arg) => {
    let said = '';
    const ended = (status?: number | string | null): never => {
      throw new Error(`ended with ${status}`);
    };
    vi.spyOn(process, 'exit').mockImplementation(ended);
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => (said += text) !== '');
    vi.spyOn(process, 'argv', 'get').mockReturnValue(['node', 'script', arg]);
    onTestFinished(() => {
      vi.restoreAllMocks();
    });
    const read = (): number => {
      const { count } = readOptions('script --seeds N', {
        seeds: { type: 'string', default: '7' },
      });
      return count('seeds');
    };
    expect(read).toThrow('ended with 64');
    expect(said).toMatch(/^.+\nusage: script --seeds N\n$/);
  },
);

test.each([
  ['0', 1, null],
  ['0', 0, 0],
  ['300', 1, 300],
  ['1.5', 1, null],
  ['1e3', 1, null],
  ['-1', 0, null],
  ['', 0, null],
  ['abc', 0, null],
  ['99999999999999999999', 0, null],
])('%j from %d is %j', (said, least, number) => {
  expect(wholeNumber(said, least)).toBe(number);
});
