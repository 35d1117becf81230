import { describe, expect, it } from 'vitest';
import { permissions as schema } from '../../src/proxmox/answers.ts';
import {
  hasPrivilege,
  type Permissions,
  seesAllTasks,
  seesGuest,
  seesGuests,
  seesHaStatus,
} from '../../src/proxmox/permissions.ts';
import { vmid } from './guest-world.ts';
import { readSteps } from './transcripts.ts';

function recorded(auth: string, path?: string): Permissions {
  const step = readSteps().find(
    (each) =>
      each.transcript === 'access_permissions' && each.auth === auth && each.query['path'] === path,
  );
  return schema.parse(Reflect.get(Object(step?.body), 'data'));
}

describe('permissions', () => {
  it.each([
    ['root', 'complete', 'complete', true],
    ['agent', 'complete', 'unknown', false],
    ['audit', 'complete', 'unknown', false],
    ['nobody', 'unknown', 'unknown', false],
  ])('the recorded token %s: guests %s, tasks %s, HA %s', (auth, guests, tasks, ha) => {
    const held = recorded(auth);
    expect(seesGuests(held).kind).toBe(guests);
    expect(seesAllTasks(held, 'pve1').kind).toBe(tasks);
    expect(seesHaStatus(held)).toBe(ha);
  });

  it('a privilege on /vms that does not pass on shows no guest', () => {
    expect(seesGuests({ '/vms': { 'VM.Audit': false } }).kind).toBe('unknown');
    expect(seesGuests({ '/': { 'VM.Audit': true } }).kind).toBe('complete');
  });

  it('of a single guest only the answer about its own path tells', () => {
    const guest = (path: string, auth: string): unknown =>
      seesGuest(recorded(auth, path), vmid(Number(path.slice(5))));
    expect(guest('/vms/100', 'agent')).toEqual({ kind: 'complete' });
    expect(guest('/vms/99999', 'agent')).toEqual({ kind: 'complete' });
    const message = 'the token lacks VM.Audit on /vms/100: what it cannot see may exist';
    const problem = { code: 'forbidden', message };
    expect(guest('/vms/100', 'nobody')).toEqual({ kind: 'unknown', problem });
    expect(seesGuest({ '/vms/100': { 'VM.Audit': false } }, vmid(100)).kind).toBe('complete');
  });

  it('an entry of its own counts before what comes from above', () => {
    const held = { '/': { 'Sys.Audit': true }, '/nodes/pve1': { 'Sys.Modify': true } };
    expect(hasPrivilege(held, '/nodes/pve1', 'Sys.Audit')).toBe(false);
    expect(hasPrivilege(held, '/nodes/pve2', 'Sys.Audit')).toBe(true);
    expect(hasPrivilege({ '/nodes': { 'Sys.Audit': false } }, '/nodes', 'Sys.Audit')).toBe(true);
    expect(hasPrivilege({ '/nodes': { 'Sys.Audit': false } }, '/nodes/x', 'Sys.Audit')).toBe(false);
  });

  it('says which privilege is missing and where', () => {
    const seen = seesAllTasks({}, 'pve1');
    expect(seen).toEqual({
      kind: 'unknown',
      problem: {
        code: 'forbidden',
        message: 'the token lacks Sys.Audit on /nodes/pve1: tasks of others cannot be seen',
      },
    });
  });
});
