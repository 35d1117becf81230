/** UPIDs, as PVE writes them into answers and task lists. */
import { isDeepStrictEqual } from 'node:util';
import { formatUpid, readUpid, upidVmid } from '../../../src/proxmox/upid.ts';
import { parseUpid, parseVmid } from '../../../src/reconcile/ids.ts';
import { beganLater } from '../../../src/reconcile/task-order.ts';
import { type FuzzTarget, insist } from '../target.ts';

export const target: FuzzTarget = {
  seeds: () => [
    'UPID:pve1:0000A1B2:0012D687:65F00000:qmstart:101:root@pam:',
    'UPID:pve1:0000A1B2:112D68712:65F00000:startall::root@pam!agent:',
    'UPID:a.b-c:ffffffff:00000000:ffffffff:aptupdate:x:user@ldap!t:comment',
  ],
  words: ['UPID:', ':', '00000000', 'FFFFFFFF', 'qmstart', '@pam!', '\n'],
  run(input) {
    const upid = parseUpid(input.toString('utf8'));
    if (upid === null) return;
    const fields = readUpid(upid);
    insist(
      [fields.pid, fields.pstart, fields.startedS].every(Number.isSafeInteger),
      'its numbers are numbers',
    );
    insist(fields.type !== '' && fields.user !== '', 'it has a type and a user');
    insist(!beganLater(fields, fields), 'it is not newer than itself');
    const vmid = upidVmid(fields);
    insist(vmid === null || parseVmid(vmid) === vmid, 'its guest is a vmid or none');
    const again = formatUpid(fields);
    insist(again !== null, 'its fields make a UPID');
    insist(isDeepStrictEqual(readUpid(again), fields), 'what is printed reads the same');
  },
};
