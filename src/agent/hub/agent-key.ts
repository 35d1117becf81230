/**
 * The agent's own key: what receipts are signed with. Made at the first start, never sent anywhere;
 * its public half is for the hub (`keys show`). Whoever has it can forge receipts, not ops.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { existsSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncFolder } from '../../journal/node-disk.ts';
import { type ErrorCode, ReconcilerError } from '../../reconcile/errors.ts';
import { requireTextFile } from '../config/text-file.ts';
import { fingerprintKey, KEY_FILE_MAX_BYTES } from './signers.ts';

export const PRIVATE_KEY_MODE = 0o600;
const AGENT_KEY_NAME = 'agent-key.pem';

export interface SigningKey {
  readonly privateKey: KeyObject;
  readonly publicKeyPem: string;
  /** SHA-256 of the public key (DER), hex. */
  readonly keySha256: string;
}

export function agentKeyFile(stateDir: string): string {
  return join(stateDir, AGENT_KEY_NAME);
}

/** Reads the key, or makes it; only with the journal's lock held, so that two cannot both make it. */
export async function openAgentKey(stateDir: string): Promise<SigningKey> {
  const file = agentKeyFile(stateDir);
  if (existsSync(file)) return await readSigningKey(file);
  const made = makeSigningKey();
  const temporary = `${file}.tmp`;
  await rm(temporary, { force: true });
  await writeFile(temporary, privateKeyPem(made), {
    mode: PRIVATE_KEY_MODE,
    flag: 'wx',
    flush: true,
  });
  await rename(temporary, file);
  await syncFolder(dirname(file));
  return made;
}

export function makeSigningKey(): SigningKey {
  return describeKey(generateKeyPairSync('ed25519').privateKey);
}

export function privateKeyPem({ privateKey }: SigningKey): string {
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

const NEW_KEY_HINT =
  '`pve-reconciler keys generate` makes one; so does `openssl genpkey -algorithm ed25519`';

/**
 * Throws `forbidden`, or for a file that is not as it should be, or not there, the `code` given: that
 * of whoever named it.
 */
export async function readSigningKey(
  file: string,
  code: 'config_invalid' | 'invalid_request' = 'config_invalid',
): Promise<SigningKey> {
  const options = { maxBytes: KEY_FILE_MAX_BYTES, code, hint: NEW_KEY_HINT };
  // What it is comes first: a public key is not to be closed to others.
  requireKey(await requireTextFile(file, options), file, code);
  return requireKey(await requireTextFile(file, { ...options, guard: 'secret' }), file, code);
}

function requireKey(text: string, file: string, code: ErrorCode): SigningKey {
  const privateKey = parsePrivateKey(text);
  if (privateKey !== null) return describeKey(privateKey);
  const message = `${file}: expected an Ed25519 private key in PEM`;
  throw new ReconcilerError(code, message, { hint: NEW_KEY_HINT });
}

function describeKey(privateKey: KeyObject): SigningKey {
  const publicKey = createPublicKey(privateKey);
  const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  return { privateKey, publicKeyPem, keySha256: fingerprintKey(publicKey) };
}

function parsePrivateKey(pem: string): KeyObject | null {
  try {
    const key = createPrivateKey(pem);
    return key.asymmetricKeyType === 'ed25519' ? key : null;
  } catch {
    return null;
  }
}
