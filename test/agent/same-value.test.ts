/** `npm run -s same-value` as a process: lines in, lines out, in order. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';

const SCRIPT = join(import.meta.dirname, '../../src/agent/same-value.ts');

async function ask(input: string | Buffer): Promise<{ answers: unknown[]; exit: unknown }> {
  const child = spawn(process.execPath, [SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  child.stdin.end(input);
  const out = await text(child.stdout);
  const [exit] = await ended;
  return {
    answers: out
      .split('\n')
      .slice(0, -1)
      .map((line): unknown => JSON.parse(line)),
    exit,
  };
}

function lines(...questions: readonly object[]): string {
  return questions.map((question) => `${JSON.stringify(question)}\n`).join('');
}

test('each line has its answer, in order', async () => {
  const { answers, exit } = await ask(
    lines(
      { kind: 'qemu', key: 'tags', a: 'b;A', b: 'a b' },
      { kind: 'qemu', key: 'cores', a: null, b: '1' },
      { kind: 'qemu', key: 'onboot', value: 'yes' },
      { kind: 'qemu', key: 'cores', value: 4 },
      { kind: 'lxc', key: 'tags', value: ['web', 'prod'] },
      { kind: 'lxc', key: 'description', written: 'd', read: 'd\n' },
      { kind: 'lxc', key: 'memory', written: '512', read: 1024 },
      { kind: 'lxc', key: 'description', written: '', read: null, note: 'not asked about' },
    ),
  );
  expect(answers).toEqual([
    { equal: true },
    { equal: false },
    { valid: false, why: "'yes' is not a boolean" },
    { valid: true },
    { valid: true },
    { drift: false },
    { drift: true },
    { drift: false },
  ]);
  expect(exit).toBe(0);
});

test('a line that is no question is answered, the next one too, and the exit is 65', async () => {
  const good = lines({ kind: 'qemu', key: 'cores', value: '4' });
  const { answers, exit } = await ask(
    Buffer.concat([
      Buffer.from(`nonsense\n${good}\n{"kind":"vm","key":"cores","value":"4"}\n`),
      Buffer.from([0x22, 0xff, 0x22, 0x0a]),
      Buffer.from(`"${'x'.repeat(5 * 1024 * 1024)}"\n${good.trimEnd()}`),
    ]),
  );
  expect(answers).toEqual([
    { error: 'not JSON' },
    { valid: true },
    { error: 'not JSON' },
    { error: expect.stringContaining('expected kind') },
    { error: 'not UTF-8' },
    { error: 'longer than 4194304 bytes' },
    { valid: true },
  ]);
  expect(exit).toBe(65);
});

test('nothing asked is nothing answered', async () => {
  expect(await ask('')).toEqual({ answers: [], exit: 0 });
});
