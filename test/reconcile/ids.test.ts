import { describe, expect, it } from 'vitest';
import { parseDurationMs } from '../../src/reconcile/desired.ts';
import { assertNever, ReconcilerError, toProblem } from '../../src/reconcile/errors.ts';
import {
  CORRELATION_ID_MAX_CHARS,
  makeCorrelationId,
  makeOpId,
  parseCorrelationId,
  parseOpId,
  parseUpid,
  parseVmid,
} from '../../src/reconcile/ids.ts';
import { seededRandom } from '../support/seeded-random.ts';

const UPID = 'UPID:pve1:0000A1B2:0012D687:65F00000:qmstart:101:root@pam!agent:';

describe('an identifier is made by its parser or not at all', () => {
  it.each([
    [100, 100],
    ['101', 101],
    [999_999_999, 999_999_999],
    [99, null],
    [1_000_000_000, null],
    [101.5, null],
    ['0101', null],
    ['1e3', null],
    [null, null],
  ])('vmid: %s is %s', (value, vmid) => {
    expect(parseVmid(value)).toBe(vmid);
  });

  it('op id: 16 characters of lower-case Crockford base32', () => {
    const made = makeOpId(seededRandom(1));
    expect(parseOpId(made)).toBe(made);
    const others = [made.slice(1), `${made}0`, made.toUpperCase(), 'i'.repeat(16), 7];
    expect(others.map((value) => parseOpId(value))).toEqual(Array(5).fill(null));
    expect(makeOpId({ next: () => 1 - Number.EPSILON })).toBe('z'.repeat(16));
  });

  it('correlation id: printable, bounded, and an op id is one', () => {
    const made = makeCorrelationId(seededRandom(1));
    expect(parseCorrelationId(made)).toBe(made);
    const longest = 'x'.repeat(CORRELATION_ID_MAX_CHARS);
    expect(parseCorrelationId(longest)).toBe(longest);
    const others = [`${longest}x`, 'a b', '', 7];
    expect(others.map((value) => parseCorrelationId(value))).toEqual(Array(4).fill(null));
  });

  it('UPID: its shape, and no longer than a name may be', () => {
    expect(parseUpid(UPID)).toBe(UPID);
    const long = UPID.replace('root', 'r'.repeat(300));
    const others = [UPID.slice(1), UPID.replace('qmstart', ''), long, 7];
    expect(others.map((value) => parseUpid(value))).toEqual(Array(4).fill(null));
  });
});

it.each([
  ['500ms', 500],
  ['30s', 30_000],
  ['5m', 300_000],
  ['1h', 3_600_000],
  ['90d', 7_776_000_000],
  ['60', null],
  ['1w', null],
  ['1.5h', null],
  ['-5m', null],
  ['m', null],
  ['99999999999999d', null],
])('the duration %s is %s ms', (text, ms) => {
  expect(parseDurationMs(text)).toBe(ms);
});

describe('what was thrown, as a value', () => {
  it('is the code and the words of one of our errors', () => {
    const error = new ReconcilerError('guest_busy', 'somebody is at it');
    expect(toProblem(error)).toEqual({ code: 'guest_busy', message: 'somebody is at it' });
  });

  it('is an internal error where nobody foresaw it', () => {
    expect(toProblem(new TypeError('x'))).toEqual({ code: 'internal_error', message: 'x' });
    expect(toProblem('x')).toEqual({ code: 'internal_error', message: 'x' });
  });

  it('ends the process where a value is none of its type', () => {
    const halt = expect.objectContaining({ code: 'internal_error', disposition: 'halt' });
    expect(() => assertNever('new' as never)).toThrow(halt);
  });
});
