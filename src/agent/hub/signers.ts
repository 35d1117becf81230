/**
 * Who may sign ops: the keys of `signers` in config.yaml, and what each may do. Read at start and
 * again on SIGHUP; whoever asks gets the ring as it is at that moment, so a key that was taken out
 * is refused from then on, for ops that wait in a lane too (authority.ts).
 *
 * Invariants
 * - S1 One public key has one keyid, and one keyid one key: else a threshold of two could be met by
 *   one person.
 * - S2 A reading never keeps a key it could not see: an entry whose file is missing or wrong drops
 *   out. At start that is an error; later it is a problem that readiness shows.
 */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { Vmid } from '../../reconcile/ids.ts';
import type { OpKind } from '../../reconcile/op.ts';
import { type Config, configError, readConfigured, type SignerEntry } from '../config/config.ts';

export const KEY_FILE_MAX_BYTES = 16 * 1024;

/** Somebody who may sign ops, with the key read and checked. */
export interface Signer {
  readonly keyid: string;
  readonly publicKey: KeyObject;
  /** SHA-256 of the public key (DER), hex. */
  readonly keySha256: string;
  /** From then on its signatures do not count, wall clock ms; null: for good. */
  readonly notAfterMs: number | null;
  readonly mayDo: (kind: OpKind, vmid: Vmid) => boolean;
}

/** The signers there are now. */
export interface SignerRing {
  signers(): readonly Signer[];
}

interface SignerReading {
  readonly signers: readonly Signer[];
  readonly problems: readonly ReconcilerError[];
}

/** At start: throws `config_invalid` for the first entry that is wrong. */
export async function loadSigners(config: Config): Promise<readonly Signer[]> {
  const { signers, problems } = await readSigners(config);
  if (problems[0] !== undefined) throw problems[0];
  return signers;
}

/**
 * The ring with its way to be read again. `reloadConfig` reads config.yaml; while that fails, the
 * entries known so far are read again, so a key whose file is gone drops out all the same.
 */
export class ReloadableSigners implements SignerRing {
  #config: Config;
  #signers: readonly Signer[];
  #problems: readonly ReconcilerError[] = [];
  #reloading: Promise<unknown> = Promise.resolve();

  constructor(config: Config, signers: readonly Signer[]) {
    this.#config = config;
    this.#signers = signers;
  }

  signers(): readonly Signer[] {
    return this.#signers;
  }

  /** What the last reading found wrong; readiness says so. */
  problems(): readonly ReconcilerError[] {
    return this.#problems;
  }

  /**
   * Resolves with what is wrong; never rejects for a configuration. One after the other: a slow one
   * that has read an older file would put a key back that the next one took out.
   */
  reload(reloadConfig: () => Promise<Config>): Promise<readonly ReconcilerError[]> {
    const reloaded = this.#reloading.then(() => this.#reload(reloadConfig));
    // Whoever asked for that one hears of it.
    this.#reloading = reloaded.catch(() => undefined);
    return reloaded;
  }

  async #reload(reloadConfig: () => Promise<Config>): Promise<readonly ReconcilerError[]> {
    const problems: ReconcilerError[] = [];
    try {
      this.#config = await reloadConfig();
    } catch (error) {
      if (!(error instanceof ReconcilerError)) throw error;
      problems.push(error);
    }
    const reading = await readSigners(this.#config);
    this.#signers = reading.signers;
    this.#problems = [...problems, ...reading.problems];
    return this.#problems;
  }
}

async function readSigners(config: Config): Promise<SignerReading> {
  const read: { readonly signer: Signer; readonly index: number }[] = [];
  const problems: ReconcilerError[] = [];
  for (const [index, entry] of config.signers.entries()) {
    try {
      read.push({ signer: await readSigner(config, entry, index), index });
    } catch (error) {
      if (!(error instanceof ReconcilerError)) throw error;
      problems.push(error);
    }
  }
  const signers = read.filter(({ signer, index }) => {
    const twin = read.find((other) => other.index !== index && isSame(other.signer, signer));
    if (twin === undefined) return true;
    const message = `${signer.keyid} and ${twin.signer.keyid} are the same: one key has one keyid`;
    problems.push(configError(config, ['signers', index], { message }));
    return false;
  });
  return { signers: signers.map(({ signer }) => signer), problems };
}

function isSame(a: Signer, b: Signer): boolean {
  return a.keySha256 === b.keySha256 || a.keyid === b.keyid;
}

async function readSigner(config: Config, entry: SignerEntry, index: number): Promise<Signer> {
  const { keyid, publicKeyFile: file, notAfterMs } = entry;
  const path = ['signers', index, 'public_key_file'];
  const pem = await readConfigured(config, { path, file, guard: 'public_key' });
  const publicKey = parsePublicKey(pem);
  if (publicKey === null) {
    throw configError(config, path, { message: `${file}: expected an Ed25519 public key in PEM` });
  }
  return {
    keyid,
    publicKey,
    keySha256: fingerprintKey(publicKey),
    notAfterMs,
    mayDo: permission(entry),
  };
}

/** SHA-256 of the public key's DER form, hex: how a key is named in records. */
export function fingerprintKey(publicKey: KeyObject): string {
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(der).digest('hex');
}

function permission({ kinds, vmids }: SignerEntry): Signer['mayDo'] {
  return (kind, vmid) =>
    kinds.has(kind) && vmids.some(({ first, last }) => vmid >= first && vmid <= last);
}

/** Null: it is none, or none of Ed25519. */
export function parsePublicKey(pem: string): KeyObject | null {
  try {
    const key = createPublicKey(pem);
    // A private key would also make a public one: whoever put it here should not have it.
    return key.asymmetricKeyType === 'ed25519' && !pem.includes('PRIVATE KEY') ? key : null;
  } catch {
    return null;
  }
}
