/** What the agent remembers of a guest as an op of its own has succeeded. */
import { expect, test } from 'vitest';
import type { AttemptEnd } from '../../src/reconcile/conclusion.ts';
import { parseOpId } from '../../src/reconcile/ids.ts';
import { Memory } from '../../src/reconcile/memory.ts';
import type { Op } from '../../src/reconcile/op-shape.ts';
import type { Note } from '../../src/reconcile/ports.ts';
import { planContext, vmidOf, wantedGuest } from './plan-inputs.ts';

const opId = parseOpId('0'.repeat(16));
if (opId === null) throw new TypeError('no op id');

function makeMemory(): { readonly memory: Memory; readonly noted: Note[] } {
  const noted: Note[] = [];
  const { semantics, policy } = planContext();
  const ports: Readonly<Record<string, unknown>> = {
    semantics: { ...semantics, isWriteOnly: (_kind: string, key: string) => key !== 'cores' },
    policy,
    ledger: {
      hashSecret: (text: string) => `hash of ${text}`,
      note: (note: Note) => {
        noted.push(note);
        return new Promise(() => undefined);
      },
    },
  };
  return {
    memory: new Memory(ports as unknown as ConstructorParameters<typeof Memory>[0], () => true),
    noted,
  };
}

function succeeded(op: Op): AttemptEnd {
  const before = { power: 'stopped', booted_at_ms: null, last_upid: null } as const;
  const begun = { atMs: 0, monotonicMs: 0 };
  const attempt = { op, number: 1, before, begun, seenSinceMs: 0, isMaybeHa: false };
  return { kind: 'succeeded', attempt, outcome: { state: 'succeeded' }, seen: 'not_looked' };
}

const base = { opId, vmid: vmidOf(101), guestKind: 'qemu', origin: 'reconcile' } as const;

test('every secret is noted at once, to be one write with the end', () => {
  const { memory, noted } = makeMemory();
  const set = { cipassword: 'a', cores: '2', sshkeys: 'b' };
  const op: Op = { ...base, action: { kind: 'set_config', params: { set, delete: [] } } };
  void memory.noteSuccess(succeeded(op), wantedGuest());
  expect(noted).toEqual([
    { kind: 'secret_applied', vmid: 101, key: 'cipassword', hash: 'hash of a' },
    { kind: 'secret_applied', vmid: 101, key: 'sshkeys', hash: 'hash of b' },
  ]);
});

test('so is the one start of a guest that is to be started once', () => {
  const { memory, noted } = makeMemory();
  const op: Op = { ...base, action: { kind: 'start', params: {} } };
  void memory.noteSuccess(succeeded(op), wantedGuest({ power: 'initial' }));
  expect(noted).toEqual([{ kind: 'initial_done', vmid: 101 }]);
});
