import { describe, expect, it } from 'vitest';
import { permissions as schema } from '../../src/proxmox/answers.ts';
import {
  hasPrivilege,
  type Permissions,
  seesAllGuests,
  seesAllTasks,
  seesHaStatus,
} from '../../src/proxmox/permissions.ts';
import { readSteps } from './transcripts.ts';

function recorded(auth: string): Permissions {
  const step = readSteps().find(
    (each) =>
      each.transcript === 'access_permissions' &&
      each.auth === auth &&
      each.query['path'] === undefined,
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
    expect(seesAllGuests(held).kind).toBe(guests);
    expect(seesAllTasks(held, 'pve1').kind).toBe(tasks);
    expect(seesHaStatus(held)).toBe(ha);
  });

  it('a privilege on /vms that does not pass on shows no guest', () => {
    expect(seesAllGuests({ '/vms': { 'VM.Audit': false } }).kind).toBe('unknown');
    expect(seesAllGuests({ '/': { 'VM.Audit': true } }).kind).toBe('complete');
  });

  it('an entry of a single guest takes it out of sight', () => {
    const held = { '/vms': { 'VM.Audit': true }, '/vms/103': { 'VM.PowerMgmt': true } };
    const seen = seesAllGuests(held);
    expect(seen.kind).toBe('unknown');
    if (seen.kind === 'unknown') expect(seen.problem.message).toContain('/vms/103');
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
