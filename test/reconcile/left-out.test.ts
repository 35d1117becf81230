/** What PVE would refuse, or would not do, is said and left out; everything else is done. */
import { expect, test } from 'vitest';
import { planValues } from './value-plan.ts';

test.each([
  { name: 'set', wanted: '0-3', read: {} },
  { name: 'taken away', wanted: null, read: { affinity: '0-3' } },
])('what only root may change is not $name, and keeps nothing else', ({ wanted, read }) => {
  const entry = planValues({
    kind: 'qemu',
    wanted: { cores: 4, affinity: wanted },
    read,
    power: 'initial',
  });
  expect(entry.actions.map(({ action }) => action)).toMatchObject([
    { kind: 'set_config', params: { set: { cores: '4' }, delete: [] } },
    { kind: 'start' },
  ]);
  expect(entry.conditions).toMatchObject([{ code: 'invalid_value', keys: ['affinity'] }]);
});

test.each([
  {
    kind: 'qemu',
    key: 'scsi0',
    wanted: 'local-lvm:vm-100-disk-0,size=64G',
    read: 'local-lvm:vm-100-disk-0,size=32G',
  },
  {
    kind: 'qemu',
    key: 'scsi0',
    wanted: 'local-lvm:vm-100-disk-0,size=8G',
    read: 'size=32G,local-lvm:vm-100-disk-0',
  },
  {
    kind: 'lxc',
    key: 'rootfs',
    wanted: 'local-lvm:vm-100-disk-0,size=4G',
    read: 'local-lvm:vm-100-disk-0,size=8G',
  },
  {
    kind: 'lxc',
    key: 'mp0',
    wanted: 'mp=/data,volume=local-lvm:vm-100-disk-1,size=9G',
    read: 'local-lvm:vm-100-disk-1,mp=/data,size=8G',
  },
] as const)('another size of $key is said and not written', ({ kind, key, wanted, read }) => {
  const entry = planValues({ kind, wanted: { [key]: wanted }, read: { [key]: read } });
  expect(entry).toMatchObject({ status: 'drift', actions: [] });
  expect(entry.conditions).toMatchObject([{ code: 'invalid_value', keys: [key] }]);
  expect(entry.conditions[0]?.message).toContain('resize');
});

test.each([
  ['local-lvm:vm-100-disk-0,ssd=1', 'local-lvm:vm-100-disk-0,ssd=1,size=32G'],
  ['local-lvm:vm-100-disk-0,ssd=1,size=32768M', 'local-lvm:vm-100-disk-0,ssd=1,size=32768M'],
])('another option of a volume is written with the size it has: %s', (wanted, written) => {
  const read = { scsi0: 'local-lvm:vm-100-disk-0,size=32G' };
  const entry = planValues({ kind: 'qemu', wanted: { scsi0: wanted }, read });
  expect(entry.actions).toMatchObject([{ action: { params: { set: { scsi0: written } } } }]);
});

test('what only root may change is no drift where it is as wanted', () => {
  const entry = planValues({
    kind: 'qemu',
    wanted: { affinity: '0-3' },
    read: { affinity: '0-3' },
  });
  expect(entry).toMatchObject({ status: 'in_sync', conditions: [] });
});
