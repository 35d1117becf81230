/** `keys generate`: a key pair for whoever signs ops. `keys show`: the agent's own public key. */
import { existsSync } from 'node:fs';
import { access, constants, open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ReconcilerError } from '../../reconcile/errors.ts';
import { type CommandContext, printJson, usageError } from '../command-line/command.ts';
import { loadConfig } from '../config/config.ts';
import { describeIoError } from '../config/text-file.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import {
  agentKeyFile,
  makeSigningKey,
  PRIVATE_KEY_MODE,
  privateKeyPem,
  readSigningKey,
} from '../hub/agent-key.ts';

const PUBLIC_KEY_MODE = 0o644;
const KEYID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export async function runKeysGenerate(
  { terminal: { out, err }, terminal, isJson }: CommandContext,
  { keyid, folder }: { readonly keyid: string; readonly folder: string },
): Promise<ExitCode> {
  if (!KEYID.test(keyid)) throw usageError(`${keyid}: expected letters, digits, dots and dashes`);
  const privateFile = resolve(folder, `${keyid}.key.pem`);
  const publicFile = resolve(folder, `${keyid}.pub.pem`);
  const key = makeSigningKey();
  // The public half first: where it cannot be written, no private key is left behind.
  await writeNew(publicFile, key.publicKeyPem, PUBLIC_KEY_MODE);
  await writeNew(privateFile, privateKeyPem(key), PRIVATE_KEY_MODE);
  const { keySha256, publicKeyPem } = key;
  if (isJson) {
    printJson(terminal, {
      keyid,
      key_sha256: keySha256,
      private_key_file: privateFile,
      public_key_file: publicFile,
      public_key_pem: publicKeyPem,
    });
    return EXIT.ok;
  }
  out.line(`private key  ${privateFile}  (keep it to yourself; it signs)`);
  out.line(`public key   ${publicFile}  (copy it to each agent)`);
  out.line(`sha256       ${keySha256}`);
  err.line('for config.yaml of each agent, with what this key may do:');
  err.line('signers:');
  err.line(
    `  - { keyid: ${keyid}, public_key_file: /etc/pve-reconciler/${keyid}.pub.pem, allow: { kinds: [start, stop], vmids: "100-199" } }`,
  );
  return EXIT.ok;
}

/** Never over a file that is there: it could be a key that is in use. */
async function writeNew(file: string, text: string, mode: number): Promise<void> {
  try {
    await using handle = await open(file, 'wx', mode);
    // The umask may have taken bits away; it never adds any.
    await handle.chmod(mode);
    await handle.writeFile(text);
    await handle.sync();
  } catch (error) {
    const why = existsSync(file) ? 'it exists already' : describeIoError(error);
    throw new ReconcilerError('invalid_request', `${file} cannot be written: ${why}`, {
      hint: 'choose another name, or another folder with --out',
      cause: error,
    });
  }
}

export async function runKeysShow({
  terminal,
  isJson,
  configFile,
}: CommandContext): Promise<ExitCode> {
  const { stateDir, agent } = await loadConfig(configFile);
  const file = agentKeyFile(stateDir);
  await requireKey(file);
  const { publicKeyPem, keySha256 } = await readSigningKey(file);
  if (isJson) printJson(terminal, { agent, key_sha256: keySha256, public_key_pem: publicKeyPem });
  else terminal.out.line(publicKeyPem.trimEnd());
  return EXIT.ok;
}

/** Throws `not_found` where there is none yet, and what the system says where it may not be read. */
async function requireKey(file: string): Promise<void> {
  try {
    await access(file, constants.R_OK);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    throw new ReconcilerError('not_found', `${file}: this agent has no key yet`, {
      hint: 'it is made when the agent starts for the first time',
    });
  }
}
