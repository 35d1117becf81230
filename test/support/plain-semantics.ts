/**
 * `ValueSemantics` small enough to see through: text is compared as text, but for the MAC of a net,
 * which desired state may leave to PVE. The real table is tested in test/proxmox.
 */
import type { ValueSemantics } from '../../src/reconcile/ports.ts';

const DISK = /^(?:scsi|virtio|sata|ide|mp|rootfs|unused|efidisk|tpmstate)\d*$/;
const SECRETS: ReadonlySet<string> = new Set(['cipassword', 'password']);
const MAC = /=([0-9A-F]{2}(?::[0-9A-F]{2}){5})/;

function withoutMac(text: string): string {
  return text.replace(MAC, '');
}

export const plainSemantics: ValueSemantics = {
  isSatisfied({ key, desired, actual }) {
    if (desired === actual) return true;
    if (actual === null) return false;
    return key.startsWith('net') && !MAC.test(desired) && withoutMac(actual) === desired;
  },
  fillIn({ key, desired, actual }) {
    const mac = key.startsWith('net') && actual !== null ? (MAC.exec(actual)?.[0] ?? '') : '';
    return MAC.test(desired) ? desired : desired.replace(/^[^,]+/, (model) => `${model}${mac}`);
  },
  refusal(_kind, key, value) {
    return key === 'cores' && !/^[1-9][0-9]*$/.test(value) ? 'expected a positive number' : null;
  },
  refusalOfWrite: ({ key }) => (key === 'affinity' ? 'only root may change it' : null),
  classify({ key }) {
    if (DISK.test(key) || key === 'vmgenid') return 'irreversible';
    return key === 'args' ? 'disruptive' : 'benign';
  },
  isWriteOnly: (_kind, key) => SECRETS.has(key),
};
