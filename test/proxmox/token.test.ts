import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { PveToken } from '../../src/proxmox/token.ts';
import { ReconcilerError } from '../../src/reconcile/errors.ts';

const SECRET = '12345678-aaaa-bbbb-cccc-123456789abc';
const TEXT = `agent@pve!agent=${SECRET}`;

describe('the token', () => {
  it('names its user as UPIDs do, and authorizes', () => {
    const token = PveToken.parse(`${TEXT}\n`);
    expect(token.user).toBe('agent@pve!agent');
    expect(token.authorization()).toBe(`PVEAPIToken=${TEXT}`);
  });

  it.each(['john@example.com@oidc!agent', 'a=b!c@x.org@Corp-1!node.pve_1'])(
    'may be of a user whose name is an address: %s',
    (user) => {
      const token = PveToken.parse(`${user}=${SECRET}`);
      expect(token.user).toBe(user);
      expect(token.authorization()).toBe(`PVEAPIToken=${user}=${SECRET}`);
    },
  );

  it('cannot be printed', () => {
    const token = PveToken.parse(TEXT);
    const printed = [
      String(token),
      JSON.stringify({ token }),
      inspect(token),
      inspect({ deep: { token } }, { depth: 9, showHidden: true }),
      Object.values(token).join(' '),
      JSON.stringify(Object.getOwnPropertyDescriptors(token)),
    ];
    for (const text of printed) expect(text).not.toContain(SECRET);
    expect(inspect(token)).toBe('***');
  });

  it.each([
    '',
    'root@pam',
    'a b@pam!x=1',
    'a@b:c@pam!x=1',
    SECRET,
    `root@pam!=${SECRET}`,
    `root!x=${SECRET}`,
    `${TEXT}\nmore=1`,
  ])('what is no token is refused without being repeated: %j', (text) => {
    let message = '';
    try {
      PveToken.parse(text);
    } catch (error) {
      expect(error).toBeInstanceOf(ReconcilerError);
      message = inspect(error);
    }
    expect(message).toContain('config_invalid');
    expect(message).not.toContain(SECRET);
  });
});
