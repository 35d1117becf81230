import { describe, expect, it } from 'vitest';
import { type RequestKind, RequestSlots } from '../../src/proxmox/request-slots.ts';
import { settle } from './virtual-clock.ts';

/** Requests that run until they are told to end, by name. */
class Bench {
  readonly slots = new RequestSlots(2);
  readonly running: string[] = [];
  readonly #ends = new Map<string, () => void>();

  ask(name: string, kind: RequestKind, signal = new AbortController().signal): Promise<string> {
    return this.slots.run(kind, signal, async () => {
      this.running.push(name);
      await new Promise<void>((resolve) => this.#ends.set(name, resolve));
      this.running.splice(this.running.indexOf(name), 1);
      return name;
    });
  }

  async end(name: string): Promise<void> {
    this.#ends.get(name)?.();
    await settle();
  }
}

describe('request slots', () => {
  it('two run at a time', async () => {
    const bench = new Bench();
    for (const name of ['a', 'b', 'c']) void bench.ask(name, 'read');
    await settle();
    expect(bench.running).toEqual(['a', 'b']);
    await bench.end('a');
    expect(bench.running).toEqual(['b', 'c']);
  });

  it('a write goes before reads that came earlier', async () => {
    const bench = new Bench();
    for (const name of ['a', 'b', 'c', 'd']) void bench.ask(name, 'read');
    void bench.ask('w', 'write');
    await settle();
    await bench.end('a');
    expect(bench.running).toEqual(['b', 'w']);
  });

  it('writes leave one slot to reads that wait, and take both when none does', async () => {
    const bench = new Bench();
    for (const name of ['w1', 'w2', 'w3']) void bench.ask(name, 'write');
    void bench.ask('r', 'read');
    await settle();
    expect(bench.running).toEqual(['w1', 'w2']);
    await bench.end('w1');
    expect(bench.running).toEqual(['w2', 'r']);
    await bench.end('r');
    expect(bench.running).toEqual(['w2', 'w3']);
  });

  it('a request that fails gives its slot back', async () => {
    const slots = new RequestSlots(1);
    const { signal } = new AbortController();
    await expect(slots.run('read', signal, () => Promise.reject(new Error('no')))).rejects.toThrow(
      'no',
    );
    await expect(slots.run('read', signal, () => Promise.resolve('yes'))).resolves.toBe('yes');
  });

  it('one that is aborted while it waits never runs, and holds no place', async () => {
    const bench = new Bench();
    const abort = new AbortController();
    void bench.ask('a', 'read');
    void bench.ask('b', 'read');
    const waiting = bench.ask('c', 'read', abort.signal);
    const last = bench.ask('d', 'read');
    abort.abort(new Error('leaving'));
    await expect(waiting).rejects.toThrow('leaving');
    await bench.end('a');
    expect(bench.running).toEqual(['b', 'd']);
    await bench.end('d');
    await expect(last).resolves.toBe('d');
  });
});
