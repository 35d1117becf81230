/** The intake for signed ops: what gets in, what does not, and that nothing is left of the latter. */
import { beforeEach, describe, expect, test } from 'vitest';
import { boundSenders, INTAKE_CONCURRENCY_MAX } from '../../../src/agent/hub/intake.ts';
import { parseOpPayload } from '../../../src/agent/hub/op-payload.ts';
import { salvage } from '../../../src/journal/salvage.ts';
import { MemoryDisk } from '../../support/memory-disk.ts';
import { VIRTUAL_EPOCH_MS, VirtualClock } from '../../support/virtual-clock.ts';
import {
  at,
  DISK,
  hub,
  MINUTE_MS,
  OP,
  RING,
  sealed,
  sealedText,
  second,
  stranger,
} from './bad-envelopes.ts';
import { bytesOf, signBody, signerOf, TestRing } from './signing.ts';
import { SmallAgent } from './small-agent.ts';
import { vmid } from './small-node.ts';

let agent: SmallAgent<VirtualClock>;
beforeEach(async () => {
  agent = await SmallAgent.start(new TestRing(RING), new VirtualClock());
});

/** The refusal's code, or what else it was. */
async function codeOf(bytes: Buffer): Promise<string> {
  const result = await agent.accept(bytes);
  return result.kind === 'refused' ? result.code : result.kind;
}

test('what desired state would undo needs a hold', async () => {
  agent.desired.put('web.yaml', { 101: { power: 'stopped' } });
  await agent.engine.pass({ isFull: true });
  expect(await codeOf(sealed({}))).toBe('conflict');
  expect(await codeOf(sealed({ idemp_key: 'key-2', hold: '1h' }))).toBe('accepted');
  const received = agent.journal.ledger.opsInFlight().at(-1)?.first;
  expect(received?.hold_ms).toBe(60 * MINUTE_MS);
});

describe('is taken', () => {
  test.each<[string, Buffer, string]>([
    ['one signature for what is benign', sealed({}), 'start 101'],
    ['a signature without a keyid', sealed({}, [{ ...hub, keyid: '' }]), 'start 101'],
    ['an unknown signature beside a known one', sealed({}, [stranger, hub]), 'start 101'],
    [
      'an envelope with fields nobody signed',
      bytesOf({ ...signBody(JSON.stringify(OP), [hub]), note: 'x' }),
      'start 101',
    ],
    ['a clock 59 s behind', sealed({ issued_at: at(59_000) }), 'start 101'],
    ['two keys for what is irreversible', sealed(DISK, [hub, second]), 'set_config 101'],
    [
      'numbers and booleans as config values',
      sealed({ kind: 'set_config', params: { set: { cores: 4, onboot: true } } }),
      'set_config 101',
    ],
  ])('%s, and done once', async (_name, bytes, sent) => {
    expect(await codeOf(bytes)).toBe('accepted');
    await agent.engine.idle();
    expect(agent.node.sent).toEqual([sent]);
  });

  test('the record says who signed, until when, and under which key', async () => {
    await agent.accept(sealed({ correlation_id: 'ticket/4711' }, [hub, second]));
    expect(agent.opOf('key-1')?.first).toMatchObject({
      state: 'received',
      attempt: 0,
      origin: 'hub',
      idemp_key: 'key-1',
      correlation_id: 'ticket/4711',
      expires_at_ms: VIRTUAL_EPOCH_MS + 10 * MINUTE_MS,
      signers: [hub, second].map((key) => {
        const { keyid, keySha256 } = signerOf(key);
        return { keyid, key_sha256: keySha256 };
      }),
    });
  });

  test('every field left out takes its default', async () => {
    await agent.accept(sealed({ kind: 'stop', params: { timeout_s: 5 } }));
    expect(agent.opOf('key-1')?.first.params).toEqual({
      mode: 'shutdown',
      timeout_s: 5,
      force: false,
    });
  });
});

describe('one key is one op', () => {
  test('64 senders of one envelope at the same moment: one op, 63 repeats', async () => {
    const results = await Promise.all(Array.from({ length: 64 }, () => agent.accept(sealed({}))));
    const ids = results.map((result) => (result.kind === 'refused' ? 'refused' : result.opId));
    expect(new Set(ids).size).toBe(1);
    expect(results.filter(({ kind }) => kind === 'accepted')).toHaveLength(1);
    await agent.engine.idle();
    expect(agent.node.sent).toEqual(['start 101']);
  });

  test('a repeat is answered with its op, also when it has failed', async () => {
    agent.node.guests.delete(vmid(101));
    await agent.engine.pass({ isFull: true });
    const stop = sealed({ kind: 'stop', vmid: 102, precondition: { power: 'running' } });
    expect(await codeOf(stop)).toBe('accepted');
    await agent.engine.idle();
    expect(agent.opOf('key-1')?.latest.state).toBe('failed');
    expect(await codeOf(stop)).toBe('repeat');
  });

  test('another payload under it is refused; so is the same with other blanks', async () => {
    expect(await codeOf(sealed({}))).toBe('accepted');
    expect(await codeOf(sealed({ vmid: 102 }))).toBe('idemp_key_reused');
    expect(await codeOf(sealedText(JSON.stringify(OP, null, 1)))).toBe('idemp_key_reused');
  });

  test('the same payload with one more signature is the same op', async () => {
    expect(await codeOf(sealed({}))).toBe('accepted');
    expect(await codeOf(sealed({}, [hub, second]))).toBe('repeat');
  });

  test('what was refused leaves its key free', async () => {
    expect(await codeOf(sealed(DISK))).toBe('gate_denied');
    expect(await codeOf(sealed(DISK, [hub, second]))).toBe('accepted');
  });
});

/** As `journal repair` leaves it, once what has this text in it is damaged. */
async function repairWithout(text: string): Promise<void> {
  agent.kill();
  const lines = [...agent.disk.afterKill().files()].map(([name, bytes]) => {
    const damaged = bytes.toString().split('\n');
    return [name, Buffer.from(damaged.map((line) => hit(line, text)).join('\n'))] as const;
  });
  const copy = new MemoryDisk();
  await salvage(MemoryDisk.of(lines), copy, new Date(agent.clock.now()).toISOString());
  await agent.restart(() => copy);
  await agent.engine.pass({ isFull: true });
}

function hit(line: string, text: string): string {
  return line.includes(text) && line.includes('"received"') ? line.replace('"at"', '"AT"') : line;
}

describe('where a repair has lost a key', () => {
  test('its op is not done again; what is known, and what is signed later, is as always', async () => {
    expect(await codeOf(sealed({}))).toBe('accepted');
    expect(await codeOf(sealed({ idemp_key: 'key-2', vmid: 102 }))).toBe('accepted');
    await agent.engine.idle();
    expect(agent.node.sent).toEqual(['start 101', 'start 102']);
    await repairWithout('key-1');
    const refused = await agent.accept(sealed({}));
    expect(refused).toMatchObject({
      code: 'expired',
      message: expect.stringContaining('lost records'),
    });
    expect(await codeOf(sealed({ idemp_key: 'key-2', vmid: 102 }))).toBe('repeat');
    agent.clock.stepWall(2 * MINUTE_MS);
    const later = { issued_at: at(2 * MINUTE_MS), idemp_key: 'key-3', vmid: 103 };
    expect(await codeOf(sealed(later))).toBe('accepted');
    await agent.engine.idle();
    expect(agent.node.sent).toEqual(['start 101', 'start 102', 'start 103']);
  });

  test('that is not so where no key is lost', async () => {
    expect(await codeOf(sealed({ kind: 'stop' }))).toBe('accepted');
    await agent.engine.idle();
    await repairWithout('nothing');
    expect(await codeOf(sealed({ idemp_key: 'key-2', vmid: 102 }))).toBe('accepted');
  });
});

test('a flood is answered before it costs a verification, and turns away nobody else', async () => {
  const atDoor = boundSenders(agent.accept);
  const flood = Array.from({ length: INTAKE_CONCURRENCY_MAX + 10 }, () => atDoor(sealed({})));
  expect(await codeOf(sealed({ idemp_key: 'key-2', vmid: 102 }))).toBe('accepted');
  const codes = (await Promise.all(flood)).map((it) => (it.kind === 'refused' ? it.code : it.kind));
  expect(codes.filter((code) => code === 'queue_full')).toHaveLength(10);
});

test.each([
  [{ kind: 'fly' }, 'expected one of start, stop, restart, set_config, found "fly"'],
  [{}, 'missing: expected one of start, stop, restart, set_config'],
])('a payload of %j is told which kinds there are', (payload, words) => {
  const reason = `the payload's kind: ${words}`;
  expect(parseOpPayload(Buffer.from(JSON.stringify(payload)))).toEqual({ kind: 'invalid', reason });
});
