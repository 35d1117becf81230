import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ERROR_TABLE } from '../../src/agent/errors.ts';
import { ERROR_CODES } from '../../src/reconcile/errors.ts';

test('docs/ERRORS.md says of every code what the program says', () => {
  const text = readFileSync(new URL('../../docs/ERRORS.md', import.meta.url), 'utf8');
  const rows = text.matchAll(/^\| `(\w+)` \| (\d+) \| (.+?) \| (.+) \|$/gm);
  const documented = [...rows].map(([, code, exit, cause, step]) => ({
    code,
    exit: Number(exit),
    hasCause: (cause ?? '').length > 10,
    step,
  }));
  expect(documented).toEqual(
    ERROR_CODES.map((code) => ({
      code,
      exit: ERROR_TABLE[code].exit,
      hasCause: true,
      step: ERROR_TABLE[code].hint,
    })),
  );
});

test('forbidden is said of tokens and of signers: its next step is for both', () => {
  const { hint } = ERROR_TABLE.forbidden;
  expect(hint).toContain('`pve-reconciler doctor`');
  expect(hint).toContain('`signers[].allow`');
});
