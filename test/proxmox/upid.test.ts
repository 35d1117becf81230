import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatUpid, readUpid, upidVmid } from '../../src/proxmox/upid.ts';
import { parseUpid, type Upid } from '../../src/reconcile/ids.ts';
import { readSteps } from './transcripts.ts';

function upid(text: string): Upid {
  const parsed = parseUpid(text);
  if (parsed === null) throw new Error(`not a UPID: ${text}`);
  return parsed;
}

const name = fc.stringMatching(/^[a-z][a-z0-9.-]{0,20}$/);
const hex32 = fc.integer({ min: 0, max: 0xffff_ffff });
const fields = fc.record({
  node: name,
  pid: hex32,
  pstart: fc.integer({ min: 0, max: 0xf_ffff_ffff }),
  startedS: hex32,
  type: fc.constantFrom('qmstart', 'vzstop', 'startall', 'hastart'),
  id: fc.constantFrom('', '100', '999999999', 'local'),
  user: fc.constantFrom('root@pam', 'agent@pve!agent', 'a.b-c@ldap!t_1', 'j@x.org@oidc!t'),
});

function vmidOf(id: string): number | null {
  return upidVmid(
    readUpid(upid(`UPID:pve1:00004ADE:00035351:6B00D64E:qmstart:${id}:root@pam!lab:`)),
  );
}

describe('UPIDs', () => {
  it('every recorded one is read, and written again to the same text', () => {
    const texts = new Set(
      readSteps().flatMap(({ text }) => text.match(/UPID:[^"\\\s]+:(?=")/g) ?? []),
    );
    const known = [...texts].filter((text) => !text.includes('garbage'));
    expect(known.length).toBeGreaterThan(200);
    for (const text of known) expect(formatUpid(readUpid(upid(text)))).toBe(text);
  });

  it('reading what was written gives the same fields, with 8 and 9 digits of pstart', () => {
    fc.assert(
      fc.property(fields, (all) => {
        const written = formatUpid(all);
        expect(written).not.toBeNull();
        if (written !== null) expect(readUpid(written)).toEqual(all);
      }),
    );
  });

  it('names the guest, or none', () => {
    expect(vmidOf('103')).toBe(103);
    expect(vmidOf('')).toBeNull();
    expect(vmidOf('local')).toBeNull();
  });
});
