import { describe, expect, it } from 'vitest';
import { clusterGuests, haStatus } from '../../src/proxmox/answers.ts';
import { readNodeLook, readNodeLookFromResources } from '../../src/proxmox/ha.ts';
import type { NodeLook } from '../../src/reconcile/guest.ts';
import { readSteps } from './transcripts.ts';

function recorded(transcript: string): readonly NodeLook[] {
  return readSteps()
    .filter((step) => step.transcript === transcript)
    .filter((step) => step.path === '/cluster/ha/status/current' && step.status === 200)
    .map((step) => haStatus.parse(Reflect.get(Object(step.body), 'data')))
    .map((rows) => readNodeLook(rows, 'pve1'));
}

describe('the HA manager, as recorded', () => {
  it('without resources HA is absent, and there is quorum', () => {
    expect(recorded('ha_add_103')[0]).toEqual({ quorate: true, ha: 'absent', managed: new Map() });
  });

  it('a guest just added is managed, and has no state yet', () => {
    expect(recorded('ha_add_103')[1]).toEqual({
      quorate: true,
      ha: 'armed',
      managed: new Map([[103, null]]),
    });
  });

  it('disarming and disarmed count as disarmed; guests then are frozen', () => {
    const looks = recorded('ha_disarm');
    expect(looks.map((look) => look.ha)).toContain('armed');
    const disarmed = looks.find((look) => look.ha === 'disarmed');
    expect([...(disarmed?.managed ?? [])]).toContainEqual([103, 'freeze']);
  });

  it('an ignored guest is not managed, a disabled one is stopped', () => {
    const looks = recorded('ha_ignored_disabled');
    expect([...(looks[0]?.managed?.keys() ?? [])]).not.toContain(104);
    expect(looks.map((look) => [...(look.managed ?? [])])).toContainEqual(
      expect.arrayContaining([[104, 'stopped']]),
    );
  });

  it('a guest frozen while HA is armed means that its LRM restarts', () => {
    const rows = haStatus.parse([
      { type: 'quorum', quorate: '1' },
      { type: 'fencing', 'armed-state': 'armed' },
      { type: 'service', sid: 'vm:103', state: 'freeze', crm_state: 'freeze', node: 'pve1' },
    ]);
    expect(readNodeLook(rows, 'pve1').ha).toBe('frozen');
    expect(readNodeLook(rows, 'pve2').ha).toBe('armed');
  });

  it('disarmed with `ignore`, nothing is managed', () => {
    const rows = haStatus.parse([
      { type: 'fencing', 'armed-state': 'disarmed', resource_mode: 'ignore' },
      { type: 'service', sid: 'vm:103', state: 'started', crm_state: 'started', node: 'pve1' },
    ]);
    expect(readNodeLook(rows, 'pve1')).toEqual({
      quorate: null,
      ha: 'disarmed',
      managed: new Map(),
    });
  });

  it('without Sys.Audit the managed guests are known, quorum and HA are not', () => {
    const guests = clusterGuests.parse([
      { vmid: 101, node: 'pve1', type: 'qemu', hastate: 'started' },
      { vmid: 102, node: 'pve1', type: 'qemu' },
      { vmid: 103, node: 'pve1', type: 'qemu', hastate: 'ignored' },
    ]);
    expect(readNodeLookFromResources(guests)).toEqual({
      quorate: null,
      ha: 'unknown',
      managed: new Map([[101, 'started']]),
    });
  });
});
