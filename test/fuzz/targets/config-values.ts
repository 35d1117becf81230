/** Values of guest options: kind, key, and two texts to compare, a line each. */
import { readFileSync } from 'node:fs';
import {
  createValueSemantics,
  hasDrift,
  isSameValue,
} from '../../../src/proxmox/values/same-value.ts';
import { type FuzzTarget, insist } from '../target.ts';

const VECTORS = new URL('../../fixtures/vectors/', import.meta.url);
const semantics = createValueSemantics();

function readVectors(): readonly string[] {
  const lines = readFileSync(new URL('equality.jsonl', VECTORS), 'utf8').trim().split('\n');
  return lines.map((line) => {
    const { kind, key, a, b }: Record<string, string | null> = JSON.parse(line);
    return [kind, key, a ?? '', b ?? ''].join('\n');
  });
}

export const target: FuzzTarget = {
  seeds: readVectors,
  words: [
    '=',
    ',',
    ';',
    'qemu',
    'lxc',
    'net0',
    'scsi0',
    'mp0',
    'on',
    'file=',
    'size=',
    '4T',
    'none',
    '%20',
  ],
  run(input) {
    const [kindText, key = '', a = '', b = ''] = input.toString('utf8').split('\n');
    const kind = kindText === 'lxc' ? 'lxc' : 'qemu';
    insist(isSameValue(kind, key, [a, a]), 'a text means the same as itself');
    insist(
      isSameValue(kind, key, [a, b]) === isSameValue(kind, key, [b, a]),
      'meaning the same is symmetric',
    );
    insist(!hasDrift(kind, key, { written: a, read: a }), 'what is read as written is no drift');
    for (const actual of [b, null]) {
      const ask = { kind, key, desired: a, actual } as const;
      semantics.isSatisfied(ask);
      const written = semantics.fillIn(ask);
      const isWritten = semantics.refusal(kind, key, written) === null;
      insist(
        !isWritten || semantics.isSatisfied({ ...ask, actual: written }),
        'what is written to fill in satisfies what is desired',
      );
      insist(semantics.classify({ kind, key, from: a, to: a }) === 'benign', 'no change is benign');
      semantics.classify({ kind, key, from: actual, to: a });
    }
  },
};
