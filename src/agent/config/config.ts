/**
 * config.yaml, read once at start. Everything wrong with it is one error with every finding's
 * file, line, column and path; nothing is guessed and nothing from the environment is expanded.
 * Relative paths are relative to the configuration's own folder.
 */
import { dirname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import { PveToken } from '../../proxmox/token.ts';
import { createConnector, type TlsTrust } from '../../proxmox/trust.ts';
import { ReconcilerError } from '../../reconcile/errors.ts';
import type { OpKind } from '../../reconcile/op.ts';
import type { EnginePolicy } from '../../reconcile/ports.ts';
import type { SignPlaces } from '../cheap-looks/host-signs.ts';
import { permissionHint } from '../daemon/state-owner.ts';
import { configSchema, type ListenAddress, type VmidRange } from './config-schema.ts';
import {
  type Finding,
  findingText,
  type Place,
  parsePositioned,
  pathText,
} from './positioned-yaml.ts';
import type { KeyPath } from './schema-issue.ts';
import { type FileGuard, readTextFile } from './text-file.ts';

const CONFIG_MAX_BYTES = 256 * 1024;
/** A token, a public key, a CA bundle. */
const KEY_FILE_MAX_BYTES = 1024 * 1024;
const DEFAULT_CA_FILE = '/etc/pve/pve-root-ca.pem';

type Trust =
  | { readonly kind: 'ca_file'; readonly path: string }
  | { readonly kind: 'system' }
  /** SHA-256 of the leaf certificate, upper-case hex with colons. */
  | { readonly kind: 'fingerprint'; readonly sha256: string };

export interface Config {
  readonly file: string;
  readonly agent: string;
  readonly node: string;
  readonly proxmox: {
    readonly url: string;
    readonly tokenFile: string;
    readonly trust: Trust;
    readonly serverName: string | null;
  };
  readonly stateDir: string;
  readonly journal: {
    readonly segmentBytes: number;
    readonly keepSegments: number;
    readonly keepForMs: number;
  };
  readonly control: {
    readonly socket: string;
    readonly listen: ListenAddress | null;
    readonly public: ListenAddress | null;
  };
  /** Files and folders of desired state. */
  readonly desired: readonly string[];
  readonly policy: EnginePolicy;
  readonly signers: readonly SignerEntry[];
  /** Null: this agent dials no hub. */
  readonly hub: HubEntry | null;
  /** Where the host's own signs are (cheap looks); nothing has to be there. */
  readonly look: SignPlaces;
  /** As they stand in the file, defaults filled in. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Where something stands in the file, for what is only found to be wrong later. */
  readonly placeOf: (path: KeyPath) => Place;
}

export interface HubEntry {
  /** Without a slash at its end. */
  readonly url: string;
  readonly trust: Trust;
  readonly serverName: string | null;
}

export interface SignerEntry {
  readonly keyid: string;
  readonly publicKeyFile: string;
  /** From then on its signatures do not count, wall clock ms; null: for good. */
  readonly notAfterMs: number | null;
  readonly kinds: ReadonlySet<OpKind>;
  readonly vmids: readonly VmidRange[];
}

/** Throws `config_invalid` with every finding, `forbidden` where the file cannot be opened. */
export async function loadConfig(file: string): Promise<Config> {
  const read = await readTextFile(file, { maxBytes: CONFIG_MAX_BYTES });
  if (read.kind === 'unreadable') {
    const { message, isDenied, isIoError = false, line = 0, column = 0 } = read.problem;
    if (isDenied === true) throw denied(`${file}: ${message}`, file);
    const hint = isIoError ? 'name the file with --config FILE' : undefined;
    throw invalid([{ file, line, column, path: '', message }], hint);
  }
  const parsed = parsePositioned(read.text, { file, schema: configSchema });
  if (parsed.kind === 'invalid') throw invalid(parsed.findings);
  return readConfig(parsed.value, { file, placeOf: parsed.placeOf });
}

function readConfig(
  raw: z.infer<typeof configSchema>,
  { file, placeOf }: Pick<Config, 'file' | 'placeOf'>,
): Config {
  const at = (path: string): string => resolve(dirname(file), path);
  return {
    file,
    agent: raw.agent ?? raw.node,
    node: raw.node,
    proxmox: {
      url: raw.proxmox.url,
      tokenFile: at(raw.proxmox.token_file),
      trust: readTrust(raw.proxmox, at),
      serverName: raw.proxmox.server_name,
    },
    stateDir: at(raw.state_dir),
    journal: {
      segmentBytes: raw.journal.segment_bytes,
      keepSegments: raw.journal.keep_segments,
      keepForMs: raw.journal.keep_for,
    },
    control: { ...raw.control, socket: at(raw.control.socket) },
    desired: raw.desired.map((entry) => at(entry.file)),
    policy: {
      mode: raw.reconcile.mode,
      unsigned: raw.policy.unsigned,
      operator: raw.policy.operator,
      irreversibleSignatures: raw.policy.irreversible_signatures,
      maxParallel: raw.reconcile.max_parallel,
      intervalMs: raw.reconcile.interval,
      configIntervalMs: raw.reconcile.config_interval,
    },
    signers: raw.signers.map((signer) => ({
      keyid: signer.keyid,
      publicKeyFile: at(signer.public_key_file),
      notAfterMs: signer.not_after ?? null,
      kinds: new Set(signer.allow.kinds),
      vmids: signer.allow.vmids,
    })),
    hub: raw.hub === null ? null : readHub(raw.hub, at),
    look: {
      mirror: at(raw.look.mirror),
      qemuRun: at(raw.look.qemu_run),
      cgroup: at(raw.look.cgroup),
    },
    settings: raw,
    placeOf,
  };
}

/** What is set otherwise in `after`: `proxmox.fingerprint`, `signers`. */
export function changedSettings(
  { settings: before }: Pick<Config, 'settings'>,
  { settings: after }: Pick<Config, 'settings'>,
): readonly string[] {
  return differences(before, after).flatMap((key) => {
    const [old, now] = [before[key], after[key]];
    return isMapping(old) && isMapping(now)
      ? differences(old, now).map((inner) => `${key}.${inner}`)
      : [key];
  });
}

type Mapping = Readonly<Record<string, unknown>>;

function differences(before: Mapping, after: Mapping): readonly string[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].filter((key) => !isDeepStrictEqual(before[key], after[key]));
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readHub(
  raw: NonNullable<z.infer<typeof configSchema>['hub']>,
  at: (path: string) => string,
): HubEntry {
  const url = raw.url.replace(/(?<!\/)\/+$/, '');
  return { url, trust: readTrust(raw, at), serverName: raw.server_name };
}

function readTrust(
  raw: Pick<z.infer<typeof configSchema>['proxmox'], 'ca_file' | 'fingerprint'>,
  at: (path: string) => string,
): Trust {
  if (raw.fingerprint !== undefined) return { kind: 'fingerprint', sha256: raw.fingerprint };
  if (raw.ca_file === 'system') return { kind: 'system' };
  return { kind: 'ca_file', path: at(raw.ca_file ?? DEFAULT_CA_FILE) };
}

/** The token, from a file nobody else may read. */
export async function readToken(config: Config): Promise<PveToken> {
  const path = ['proxmox', 'token_file'];
  const file = config.proxmox.tokenFile;
  const text = await readConfigured(config, { path, file, guard: 'secret' });
  try {
    return PveToken.parse(text);
  } catch (error) {
    if (!(error instanceof ReconcilerError)) throw error;
    throw configError(config, path, { message: `${file}: ${error.detail}`, hint: error.hint });
  }
}

/** Which certificate of the node, or of the hub, is believed, with the CA's text read. */
export async function readTlsTrust(
  config: Config,
  section: 'proxmox' | 'hub' = 'proxmox',
): Promise<TlsTrust> {
  const entry = config[section];
  if (entry === null) throw configError(config, [section], { message: 'missing' });
  const { trust, serverName } = entry;
  if (trust.kind === 'fingerprint') {
    return { kind: 'fingerprint', fingerprint: trust.sha256, serverName };
  }
  if (trust.kind === 'system') return { kind: 'system', serverName };
  const path = [section, 'ca_file'];
  const ca = await readConfigured(config, { path, file: trust.path, guard: 'plain' });
  const tls = { kind: 'ca', ca, serverName } as const;
  try {
    createConnector(tls, new URL(entry.url).hostname);
    return tls;
  } catch (error) {
    if (!(error instanceof ReconcilerError)) throw error;
    throw configError(config, path, {
      message: `${trust.path}: ${error.detail}`,
      hint: error.hint,
    });
  }
}

/** Reads a file the configuration names; throws `config_invalid`, or `forbidden`, with the place that names it. */
export async function readConfigured(
  config: Config,
  {
    path,
    file,
    guard,
  }: { readonly path: KeyPath; readonly file: string; readonly guard: FileGuard },
): Promise<string> {
  const read = await readTextFile(file, { maxBytes: KEY_FILE_MAX_BYTES, guard });
  if (read.kind === 'read') return read.text;
  const { message, hint, isDenied } = read.problem;
  const wrong = configError(config, path, { message: `${file}: ${message}`, hint });
  throw isDenied === true ? denied(wrong.detail, file) : wrong;
}

/** `config_invalid`, naming the place in config.yaml. */
export function configError(
  config: Pick<Config, 'file' | 'placeOf'>,
  path: KeyPath,
  { message, hint }: { readonly message: string; readonly hint?: string | undefined },
): ReconcilerError {
  const place = config.placeOf(path);
  return invalid([{ file: config.file, ...place, path: pathText(path), message }], hint);
}

function denied(message: string, file: string): ReconcilerError {
  return new ReconcilerError('forbidden', message, {
    disposition: 'halt',
    hint: permissionHint(file),
  });
}

function invalid(findings: readonly Finding[], hint?: string): ReconcilerError {
  return new ReconcilerError('config_invalid', findings.map(findingText).join('\n'), {
    disposition: 'halt',
    ...(hint === undefined ? {} : { hint }),
  });
}
