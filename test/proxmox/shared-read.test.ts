import { describe, expect, it } from 'vitest';
import { SharedRead } from '../../src/proxmox/shared-read.ts';
import { settle, VirtualClock } from './virtual-clock.ts';

const going = new AbortController().signal;

/** A read whose answers are given by the test; `n` counts requests. */
function make(): {
  readonly clock: VirtualClock;
  readonly shared: SharedRead<string>;
  readonly begun: () => number;
  readonly answer: (value: string) => Promise<void>;
} {
  const clock = new VirtualClock();
  const open: PromiseWithResolvers<string>[] = [];
  let begun = 0;
  const read = (began: () => void): Promise<string> => {
    began();
    begun += 1;
    const reading = Promise.withResolvers<string>();
    open.push(reading);
    return reading.promise;
  };
  const shared = new SharedRead(clock, read, (value) => value !== 'bad');
  const answer = async (value: string): Promise<void> => {
    await settle();
    open.shift()?.resolve(value);
    await settle();
  };
  return { clock, shared, begun: () => begun, answer };
}

describe('a shared read', () => {
  it('one request serves all who asked before it began', async () => {
    const { shared, clock, begun, answer } = make();
    await clock.advance(10);
    const answers = [5, 6, 7].map((sinceMs) => shared.get(sinceMs, going));
    await answer('one');
    expect(await Promise.all(answers)).toEqual(['one', 'one', 'one']);
    expect(begun()).toBe(1);
  });

  it('an answer that began before the event is never given', async () => {
    const { shared, clock, begun, answer } = make();
    const early = shared.get(-1, going);
    await settle();
    await clock.advance(10);
    const late = [10, 10, 10].map((sinceMs) => shared.get(sinceMs, going));
    await answer('before');
    expect(await early).toBe('before');
    await answer('after');
    expect(await Promise.all(late)).toEqual(['after', 'after', 'after']);
    expect(begun()).toBe(2);
  });

  it('who asks before the request has gone out is served by it', async () => {
    const clock = new VirtualClock();
    const turn = Promise.withResolvers<void>();
    let begun = 0;
    const shared = new SharedRead(
      clock,
      async (began) => {
        begun += 1;
        await turn.promise;
        began();
        return 'one';
      },
      () => true,
    );
    const early = shared.get(0, going);
    await clock.advance(10);
    const late = shared.get(10, going);
    await clock.advance(10);
    turn.resolve();
    expect(await Promise.all([early, late])).toEqual(['one', 'one']);
    expect(begun).toBe(1);
  });

  it('an answer that is there serves whoever takes one that old', async () => {
    const { shared, clock, begun, answer } = make();
    await clock.advance(10);
    const first = shared.get(5, going);
    await answer('one');
    await first;
    await clock.advance(100);
    expect(await shared.get(9, going)).toBe('one');
    expect(begun()).toBe(1);
  });

  it('an answer of no use is given to those who waited, and to nobody after', async () => {
    const { shared, clock, begun, answer } = make();
    await clock.advance(10);
    const first = shared.get(5, going);
    await answer('bad');
    expect(await first).toBe('bad');
    const second = shared.get(5, going);
    await answer('good');
    expect(await second).toBe('good');
    expect(begun()).toBe(2);
  });

  it('one that leaves takes nothing from the others', async () => {
    const { shared, answer } = make();
    const abort = new AbortController();
    const leaving = shared.get(0, abort.signal);
    const staying = shared.get(-1, going);
    abort.abort(new Error('leaving'));
    await expect(leaving).rejects.toThrow('leaving');
    await answer('one');
    expect(await staying).toBe('one');
  });
});
