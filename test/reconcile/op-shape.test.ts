import { describe, expect, it } from 'vitest';
import { configOf } from '../../src/reconcile/guest.ts';
import { DEFAULT_STOP, type OpKind, type OpRecordDraft } from '../../src/reconcile/op.ts';
import { toAction } from '../../src/reconcile/op-shape.ts';
import { guestConfig, seenGuest } from './plan-inputs.ts';

const HARD = { mode: 'stop', timeout_s: 5, force: false } as const;
const CHANGE = { set: { cores: '2' }, delete: ['description'] };

describe('parameters', () => {
  it.each<[OpKind, NonNullable<OpRecordDraft['params']>]>([
    ['start', {}],
    ['stop', HARD],
    ['restart', HARD],
    ['set_config', CHANGE],
  ])('of %s are taken as they are', (kind, params) => {
    expect(toAction(kind, params)).toEqual({ kind, params });
  });

  it.each<[OpKind, object]>([
    ['start', {}],
    ['stop', DEFAULT_STOP],
    ['restart', DEFAULT_STOP],
    ['set_config', { set: {}, delete: [] }],
  ])('of %s that are left out, or those of another kind, are the default', (kind, params) => {
    const others = kind === 'set_config' ? HARD : CHANGE;
    expect(toAction(kind, undefined)).toEqual({ kind, params });
    expect(toAction(kind, others)).toEqual({ kind, params });
  });
});

describe('the config of a guest', () => {
  it('is what its look has read', () => {
    const config = guestConfig({ cores: '2' });
    expect(configOf(seenGuest({ config: { kind: 'known', config } }))).toBe(config);
  });

  it('halts whoever takes a look that has not read it', () => {
    const guest = seenGuest({ config: { kind: 'not_read' } });
    expect(() => configOf(guest)).toThrow('internal_error: the config of guest 101 is missing');
  });
});
