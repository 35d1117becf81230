/** Signing as a hub would, with node:crypto and by hand: nothing of src has a part in it. */
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { Signer, SignerRing } from '../../../src/agent/hub/signers.ts';
import type { OpKind } from '../../../src/reconcile/op.ts';

export const OP_TYPE = 'application/vnd.pve-reconciler.op.v1+json';

export interface TestKey {
  readonly keyid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export function makeKey(keyid: string): TestKey {
  return { keyid, ...generateKeyPairSync('ed25519') };
}

/** The envelope's fields; `body` is what is signed, to the byte. */
export function signBody(body: string | Buffer, keys: readonly TestKey[], type = OP_TYPE) {
  const bytes = Buffer.from(body);
  const head = Buffer.from(`DSSEv1 ${Buffer.byteLength(type)} ${type} ${bytes.length} `);
  const signatures = keys.map(({ keyid, privateKey }) => ({
    keyid,
    sig: sign(null, Buffer.concat([head, bytes]), privateKey).toString('base64'),
  }));
  return { payload: bytes.toString('base64'), payloadType: type, signatures };
}

export function bytesOf(fields: object): Buffer {
  return Buffer.from(JSON.stringify(fields));
}

export interface Permission {
  readonly kinds?: readonly OpKind[];
  readonly first?: number;
  readonly last?: number;
  readonly notAfterMs?: number;
}

/** The key as config.yaml would put it into the ring; without a permission it may do everything. */
export function signerOf(
  { keyid, publicKey }: Omit<TestKey, 'privateKey'>,
  permission: Permission = {},
): Signer {
  const { kinds, first = 100, last = 999_999_999, notAfterMs = null } = permission;
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return {
    keyid,
    publicKey,
    keySha256: createHash('sha256').update(der).digest('hex'),
    notAfterMs,
    mayDo: (kind, vmid) => (kinds?.includes(kind) ?? true) && vmid >= first && vmid <= last,
  };
}

/** A ring that a test turns: what `signers` holds is in force at once. */
export class TestRing implements SignerRing {
  held: readonly Signer[];

  constructor(held: readonly Signer[]) {
    this.held = held;
  }

  signers(): readonly Signer[] {
    return this.held;
  }
}
