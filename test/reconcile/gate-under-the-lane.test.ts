/** What the gate makes of a signed write, with PVE's own meaning of the values and the guest's config. */
import { afterEach, describe, expect, test } from 'vitest';
import { createValueSemantics } from '../../src/proxmox/values/same-value.ts';
import type { OpRequest, SubmitResult } from '../../src/reconcile/intake.ts';
import type { SetConfigParams } from '../../src/reconcile/op.ts';
import { ModelWorld } from '../support/model-world.ts';
import { vmidOf } from './plan-inputs.ts';

const VM = vmidOf(101);
const CONTAINER = vmidOf(201);
const DISK = 'local-lvm:vm-101-disk-0,size=8G';

let world = new ModelWorld();
afterEach(() => world.stop());

/** How an op by so many keys ends; `left` of them are still trusted when its turn comes. */
async function endOf(
  vmid: typeof VM,
  change: Partial<SetConfigParams>,
  keys = 1,
  left = keys,
): Promise<string> {
  world = new ModelWorld();
  world.semantics = createValueSemantics();
  world.signaturesLeft = () => left;
  const vm = world.node.add(VM, { running: true, config: { agent: '0', scsi0: DISK } });
  vm.pending.set('sata1', { kind: 'set', value: 'local-lvm:vm-101-disk-5,size=32G' });
  vm.config.set('unused0', 'local-lvm:vm-101-disk-9');
  world.node.add(CONTAINER, { kind: 'lxc', config: { swap: '512' } });
  await world.start({ intervalMs: null });
  const signers = Array.from({ length: keys }, (_, index) => ({
    keyid: `key-${index}`,
    key_sha256: `${index}`.repeat(64),
  }));
  const result = await world.clock.until(
    world.life.engine.submit({
      origin: 'hub',
      vmid,
      action: { kind: 'set_config', params: { set: {}, delete: [], ...change } },
      signed: { idempKey: 'k', payloadHmac: 'f'.repeat(64), expiresAtMs: 9e14, signers },
    }),
    10_000,
  );
  if (result.kind === 'refused') return `refused ${result.problem.code}`;
  await world.clock.until(world.life.engine.idle(), 60_000);
  const latest = world.journal.records.at(-1);
  expect(world.api.sent.length).toBe(latest?.state === 'succeeded' ? 1 : 0);
  return latest?.error?.code ?? latest?.state ?? 'nothing';
}

test.each<[string, typeof VM, Partial<SetConfigParams>, string]>([
  ['a key of both kinds', VM, { set: { cores: '4' } }, 'succeeded'],
  ['a key of VMs only', VM, { set: { agent: '1' } }, 'succeeded'],
  ['a key of containers only', CONTAINER, { set: { swap: '1024' } }, 'succeeded'],
  ['a key that this kind does not have', VM, { set: { swap: '1024' } }, 'refused gate_denied'],
  ['another option of the same disk', VM, { set: { scsi0: `${DISK},discard=on` } }, 'succeeded'],
  ['a disk to be made', VM, { set: { scsi1: 'local-lvm:8' } }, 'refused gate_denied'],
  ['another disk in its place', VM, { set: { scsi0: 'local-lvm:other' } }, 'refused gate_denied'],
  ['a size of the same disk', VM, { set: { scsi0: DISK.replace('8G', '9G') } }, 'invalid_request'],
  ["what is root's alone", VM, { set: { affinity: '0' } }, 'invalid_request'],
  ['a disk detached', VM, { delete: ['scsi0'] }, 'refused gate_denied'],
  ['a disk destroyed', VM, { delete: ['unused0'] }, 'refused gate_denied'],
  [
    'a disk detached that waits for the next start',
    VM,
    { delete: ['sata1'] },
    'refused gate_denied',
  ],
  [
    'a drive emptied that a disk waits for',
    VM,
    { set: { sata1: 'none,media=cdrom' } },
    'refused gate_denied',
  ],
])('with one signature, %s: %4$s', async (_what, vmid, change, end) => {
  expect(await endOf(vmid, change)).toBe(end);
});

test.each([
  ['both are trusted still', 2, 'succeeded'],
  ['one has been taken out since', 1, 'gate_denied'],
])('with two signatures a disk is detached: %s', async (_what, left, end) => {
  expect(await endOf(VM, { delete: ['scsi0'] }, 2, left)).toBe(end);
});

describe('what one signature is too few for', () => {
  const detach: OpRequest = {
    origin: 'hub',
    vmid: VM,
    action: { kind: 'set_config', params: { set: {}, delete: ['sata1'] } },
    signed: {
      idempKey: 'k',
      payloadHmac: 'f'.repeat(64),
      expiresAtMs: 9e14,
      signers: [{ keyid: 'a', key_sha256: 'a'.repeat(64) }],
    },
  };

  async function makeWorld(): Promise<void> {
    world = new ModelWorld();
    world.semantics = createValueSemantics();
    world.node.add(VM, { running: true });
    await world.start({ intervalMs: null });
    await world.clock.until(world.life.engine.pass(), 1_000);
  }

  const attach = (): unknown => world.node.guest(VM).config.set('sata1', DISK);
  const submit = (): Promise<SubmitResult> =>
    world.clock.until(world.life.engine.submit(detach), 2_000);

  test('leaves its key to the envelope that has them all', async () => {
    await makeWorld();
    attach();
    expect(await submit()).toMatchObject({ kind: 'refused', problem: { code: 'gate_denied' } });
    expect(world.journal.records).toEqual([]);
    world.node.guest(VM).config.delete('sata1');
    expect(await submit()).toMatchObject({ kind: 'accepted' });
  });

  test('is denied at its turn where it came to be so while it waited', async () => {
    await makeWorld();
    world.node.guest(VM).lock = 'backup';
    expect(await submit()).toMatchObject({ kind: 'accepted' });
    attach();
    world.node.guest(VM).lock = null;
    await world.clock.until(world.life.engine.idle(), 60_000);
    expect(world.journal.records.at(-1)).toMatchObject({ error: { code: 'gate_denied' } });
    expect(world.api.sent).toEqual([]);
  });

  test('is taken, and denied at its turn, where PVE does not say what is there soon', async () => {
    await makeWorld();
    attach();
    world.api.wire.state = 'stuck';
    expect(await submit()).toMatchObject({ kind: 'accepted' });
    world.api.wire.state = 'up';
    await world.clock.until(world.life.engine.idle(), 120_000);
    expect(world.journal.records.at(-1)).toMatchObject({ error: { code: 'gate_denied' } });
  });
});
