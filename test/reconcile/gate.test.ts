import { describe, expect, it } from 'vitest';
import { classifyAction, judge } from '../../src/reconcile/gate.ts';
import { type Action, DEFAULT_STOP, type Reversibility } from '../../src/reconcile/op.ts';
import { plainSemantics } from '../support/plain-semantics.ts';

const POLICY = { unsigned: 'benign', operator: 'disruptive', irreversibleSignatures: 2 } as const;

function configAction(set: Record<string, string>, ...keys: string[]): Action {
  return { kind: 'set_config', params: { set, delete: keys } };
}

const CLASSES: readonly { name: string; action: Action; is: Reversibility }[] = [
  { name: 'a start', action: { kind: 'start', params: {} }, is: 'benign' },
  { name: 'a graceful stop', action: { kind: 'stop', params: DEFAULT_STOP }, is: 'benign' },
  {
    name: 'a stop that forces in the end',
    action: { kind: 'stop', params: { ...DEFAULT_STOP, force: true } },
    is: 'disruptive',
  },
  {
    name: 'a hard stop',
    action: { kind: 'stop', params: { ...DEFAULT_STOP, mode: 'stop' } },
    is: 'disruptive',
  },
  { name: 'a restart', action: { kind: 'restart', params: DEFAULT_STOP }, is: 'disruptive' },
  { name: 'a config change', action: configAction({ cores: '4' }), is: 'benign' },
  {
    name: 'a new disk',
    action: configAction({ cores: '4', scsi1: 'local:8' }),
    is: 'irreversible',
  },
  { name: 'a detached disk', action: configAction({}, 'cores', 'scsi0'), is: 'irreversible' },
  { name: 'nothing at all', action: configAction({}), is: 'benign' },
];

it.each(CLASSES)('$name is $is', ({ action, is }) => {
  expect(classifyAction(action, 'qemu', plainSemantics, null)).toBe(is);
});

describe('the gate', () => {
  const all: readonly Reversibility[] = ['benign', 'disruptive', 'irreversible'];
  const passes = (
    origin: 'reconcile' | 'operator' | 'hub',
    signatures: number,
    policy: Parameters<typeof judge>[1] = POLICY,
  ): string[] =>
    all.filter(
      (reversibility) => judge({ origin, reversibility, signatures }, policy).kind === 'pass',
    );

  it.each([
    { unsigned: 'none', lets: [] },
    { unsigned: 'benign', lets: ['benign'] },
    { unsigned: 'disruptive', lets: ['benign', 'disruptive'] },
  ] as const)('lets desired state do $lets where policy says $unsigned', ({ unsigned, lets }) => {
    expect(passes('reconcile', 0, { ...POLICY, unsigned })).toEqual(lets);
    expect(passes('reconcile', 5, { ...POLICY, unsigned })).toEqual(lets);
  });

  it.each([
    { operator: 'none', lets: [] },
    { operator: 'benign', lets: ['benign'] },
    { operator: 'disruptive', lets: ['benign', 'disruptive'] },
  ] as const)('lets an operator do $lets where policy says $operator', ({ operator, lets }) => {
    expect(passes('operator', 0, { ...POLICY, operator })).toEqual(lets);
  });

  it.each([
    { signatures: 0, lets: [] },
    { signatures: 1, lets: ['benign', 'disruptive'] },
    { signatures: 2, lets: all },
  ])('lets $signatures signatures do $lets', ({ signatures, lets }) => {
    expect(passes('hub', signatures)).toEqual(lets);
  });

  it('says what it takes', () => {
    const verdict = judge(
      { origin: 'reconcile', reversibility: 'irreversible', signatures: 0 },
      POLICY,
    );
    expect(verdict).toEqual({
      kind: 'denied',
      needs: 'it is irreversible and takes a signed op with 2 signatures by different keys',
    });
  });
});
