/**
 * Sets an agent up on its PVE host, and takes it away again. Every step looks first whether it is
 * still to be done, so a run that was cut off is mended by the next.
 *
 * Order: rights, then the token, whose secret goes to disk at once; then the configuration. A
 * configuration or a document that is there is never touched.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chown, mkdir, readFile, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { ReconcilerError } from '../../reconcile/errors.ts';
import { replaceFile } from '../adopt/write-file.ts';
import type { Config } from '../config/config.ts';
import { fetchCertificate } from '../doctor/certificate.ts';
import {
  type NeedsInput,
  privilegeNeeds,
  ROLE_NAMES,
  STARTUP_ORDER,
} from '../doctor/privilege-needs.ts';
import { AGENT_ACCOUNT, SETUP_USER, tokenIdOf } from './names.ts';
import {
  type Argv,
  addToken,
  type Found,
  isOnPve,
  NOTHING_FOUND,
  readFound,
  readNodes,
  readVersion,
  runTool,
} from './pve-tools.ts';
import { removalSteps, type Step, setupSteps, shellLine } from './steps.ts';
import { chooseTrust, firstConfig } from './trust-choice.ts';

export interface SetupOptions {
  readonly configFile: string;
  /** What stands there; null: nothing yet. */
  readonly configured: Config | null;
  readonly node: string;
  readonly url: string;
  /** The cluster's own. */
  readonly caFile: string;
  readonly startupOrder: boolean;
  readonly isPrintOnly: boolean;
  /** One line for each thing done, or to be done. */
  readonly say: (line: string) => void;
}

const MAJOR_MIN = 8;

interface Places {
  readonly folder: string;
  readonly token: string;
  readonly ca: string;
  readonly desired: string;
  /** Are documents read from there? */
  readonly isRead: boolean;
  /** SHA-256 of what setup wrote, to know on removal what is still as it was. */
  readonly written: string;
}

function placesOf({
  configFile,
  configured,
}: Pick<SetupOptions, 'configFile' | 'configured'>): Places {
  const folder = resolve(dirname(configFile));
  const desired = join(folder, 'desired.d');
  return {
    folder,
    token: configured?.proxmox.tokenFile ?? join(folder, 'token'),
    ca: join(folder, 'pve-root-ca.pem'),
    desired,
    isRead: configured?.desired.includes(desired) ?? true,
    written: join(folder, '.setup.json'),
  };
}

/**
 * Resolves with the document to adopt the guests into; null where the configuration reads its
 * documents from elsewhere: those folders are not setup's to write to.
 */
export async function setUp(options: SetupOptions): Promise<string | null> {
  const places = placesOf(options);
  if (options.isPrintOnly && !isOnPve()) {
    options.say('# this is no Proxmox VE host (there is no pveum): on one it would run');
  }
  const policy = readPolicy(options);
  const needs = [...privilegeNeeds(policy), ...(options.startupOrder ? [STARTUP_ORDER] : [])];
  const [found] = await Promise.all([lookAround(options), requireNode(options)]);
  const hasTokenFile = !options.isPrintOnly && requireOwnToken(places.token, options.node);
  const steps = setupSteps({ node: options.node, needs }, found, { hasTokenFile });
  if (!options.isPrintOnly) await makeFolders(places);
  for (const step of steps) await perform(step, options, places);
  await writeConfig(options, places);
  if (places.isRead) return join(places.desired, 'guests.yaml');
  options.say(`# no guests are adopted: ${options.configFile} does not name ${places.desired}`);
  options.say('# `pve-reconciler adopt --all --observe --to FILE` writes them where it is read');
  return null;
}

function readPolicy({ configured, node }: SetupOptions): NeedsInput {
  if (configured !== null) return { ...configured, node };
  const policy = { unsigned: 'benign', operator: 'disruptive', irreversibleSignatures: 2 } as const;
  const rest = { mode: 'enforce', maxParallel: 4, intervalMs: 0, configIntervalMs: 0 } as const;
  return { node, policy: { ...policy, ...rest }, signers: [] };
}

/** Nothing is asked where only the commands are shown: they are then those of a fresh host. */
async function lookAround({ isPrintOnly }: Pick<SetupOptions, 'isPrintOnly'>): Promise<Found> {
  if (isPrintOnly) return NOTHING_FOUND;
  requireRoot();
  const [version, found] = await Promise.all([readVersion(), readFound(SETUP_USER)]);
  const major = Number(/^\d+/.exec(version)?.[0]);
  if (!(major >= MAJOR_MIN)) {
    throw new ReconcilerError('config_invalid', `Proxmox VE ${version} is too old`, {
      hint: `upgrade the host to Proxmox VE ${MAJOR_MIN} or newer`,
    });
  }
  return found;
}

/** Rights on a node that is not there would be of no use to anybody. */
async function requireNode({ node, isPrintOnly }: SetupOptions): Promise<void> {
  if (isPrintOnly) return;
  const nodes = await readNodes();
  if (nodes.includes(node)) return;
  const message = `PVE knows no node ${node}, only ${nodes.join(', ')}`;
  throw new ReconcilerError('config_invalid', message, {
    hint: "say PVE's name of this host with `--node NAME`",
  });
}

function requireRoot(): void {
  if (process.geteuid?.() === 0) return;
  throw new ReconcilerError('forbidden', 'setup has to be run by root', {
    hint: '`--print` shows to everybody what it would do',
  });
}

/** `others`: also where it cannot be read. */
type TokenHolder = 'nobody' | 'setup' | 'others';

function holderOf(file: string, node: string): TokenHolder {
  if (!existsSync(file)) return 'nobody';
  try {
    const text = readFileSync(file, 'utf8').trim();
    if (text === '') return 'nobody';
    return text.startsWith(`${ownToken(node)}=`) ? 'setup' : 'others';
  } catch {
    return 'others';
  }
}

function ownToken(node: string): string {
  return `${SETUP_USER}!${tokenIdOf(node)}`;
}

/**
 * Is there a token of setup's own already? One of somebody else's is refused, wherever it is: PVE
 * has shown its secret once, and it may be nowhere else.
 */
function requireOwnToken(file: string, node: string): boolean {
  const holder = holderOf(file, node);
  if (holder !== 'others') return holder === 'setup';
  const message = `${file} is there, and does not hold ${ownToken(node)}: setup leaves it alone`;
  throw new ReconcilerError('conflict', message, {
    hint:
      'move it away and run setup again; or keep it and go without setup: ' +
      '`pve-reconciler doctor` says which rights it lacks',
  });
}

async function perform(step: Step, options: SetupOptions, places: Places): Promise<void> {
  if (step.note !== undefined) options.say(`# ${step.note}`);
  options.say(shellLine(step.argv));
  if (options.isPrintOnly) {
    if (step.kind === 'token') options.say(`# its secret into ${places.token}, mode 0600`);
    return;
  }
  if (step.kind === 'command') await runTool(step.argv);
  else await writeToken(step.argv, options.node, places.token);
}

async function writeToken(argv: Argv, node: string, file: string): Promise<void> {
  const secret = await addToken(argv);
  const owner = await findAccount();
  const text = `${ownToken(node)}=${secret}\n`;
  // A file that is there may belong to somebody else, or be open to others.
  await rm(file, { force: true });
  await replaceFile(file, text, { mode: 0o600, ...(owner === null ? {} : { owner }) });
}

/** The agent's account; null where the package has not made it. */
async function findAccount(): Promise<{ readonly uid: number; readonly gid: number } | null> {
  const line = await runTool(['getent', 'passwd', AGENT_ACCOUNT]).catch(() => '');
  const [, , uid, gid] = line.split(':');
  return uid === undefined || gid === undefined ? null : { uid: Number(uid), gid: Number(gid) };
}

async function makeFolders({ folder, token, desired, isRead }: Places): Promise<void> {
  for (const each of [folder, dirname(token)]) {
    await mkdir(each, { recursive: true, mode: 0o755 });
  }
  if (!isRead) return;
  await mkdir(desired, { recursive: true, mode: 0o755 });
  if (process.geteuid?.() === 0) await chown(desired, 0, 0);
}

async function writeConfig(options: SetupOptions, places: Places): Promise<void> {
  const { configFile, configured, node, url, caFile, say, isPrintOnly } = options;
  const clusterCa = await readFile(caFile, 'utf8').catch(() => null);
  if (configured !== null) {
    // `--remove` has left the configuration, which was edited, and taken its CA away.
    const { trust } = configured.proxmox;
    const isNamed = trust.kind === 'ca_file' && trust.path === places.ca;
    if (isNamed && !existsSync(places.ca)) await copyCa(options, { places, clusterCa });
    return;
  }
  const shown = isPrintOnly ? null : await fetchCertificate(url, null);
  const trust = chooseTrust(shown, { clusterCa, caFile: places.ca, url, node });
  const text = firstConfig({
    node,
    url,
    tokenFile: places.token,
    desiredFolder: places.desired,
    trust,
  });
  if (trust.why !== null) say(`# ${trust.why}`);
  if (trust.needsCa) await copyCa(options, { places, clusterCa });
  say(`# ${configFile}:`);
  for (const line of text.trimEnd().split('\n')) say(`#   ${line}`);
  if (isPrintOnly) return;
  await replaceFile(configFile, text, { mode: 0o644 });
  await remember(places, configFile);
}

async function copyCa(
  { caFile, say, isPrintOnly }: SetupOptions,
  { places, clusterCa }: { readonly places: Places; readonly clusterCa: string | null },
): Promise<void> {
  if (!isPrintOnly && clusterCa === null) {
    const message = `${caFile} cannot be read, and the agent needs a copy of it in ${places.ca}`;
    throw new ReconcilerError('config_invalid', message, {
      hint: "name the file of the cluster's CA with `--ca FILE`, and run setup again",
    });
  }
  say(shellLine(['install', '-m', '0644', caFile, places.ca]));
  if (isPrintOnly || clusterCa === null) return;
  await replaceFile(places.ca, clusterCa, { mode: 0o644 });
  await remember(places, places.ca);
}

/** What setup wrote, by name and sum. */
export async function remember({ written }: Pick<Places, 'written'>, file: string): Promise<void> {
  const known = await readWritten(written);
  const sums = { ...known, [file]: sumOf(await readFile(file)) };
  await replaceFile(written, `${JSON.stringify(sums)}\n`, { mode: 0o600 });
}

async function readWritten(file: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    const value: unknown = JSON.parse(await readFile(file, 'utf8'));
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

function sumOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Takes it all away again, but for what somebody has edited since and the state folder. */
export async function takeDown(options: SetupOptions): Promise<void> {
  const places = placesOf(options);
  const found = await lookAround(options);
  const wanted = options.isPrintOnly ? allThere(options.node) : found;
  for (const step of removalSteps(options.node, wanted)) {
    await perform(step, options, places);
  }
  await removeFiles(options, places);
}

function allThere(node: string): Found {
  return {
    roles: new Map(ROLE_NAMES.map((name) => [name, new Set()])),
    hasUser: true,
    tokenIds: new Set([tokenIdOf(node)]),
    acls: [],
  };
}

async function removeFiles(options: SetupOptions, places: Places): Promise<void> {
  const { say, node, isPrintOnly } = options;
  const written = await readWritten(places.written);
  const doomed: string[] = [];
  for (const file of new Set([places.token, join(places.folder, 'token')])) {
    const holder = holderOf(file, node);
    if (holder === 'setup') doomed.push(file);
    if (holder === 'others') say(`# ${file} is not seen to hold ${ownToken(node)}: it stays`);
  }
  if (written[places.ca] === undefined && existsSync(places.ca)) {
    if (await isClusterCa(places.ca, options.caFile)) doomed.push(places.ca);
    else say(`# ${places.ca} is not known to be setup's: it stays`);
  }
  for (const [file, sum] of Object.entries(written)) {
    const bytes = await readFile(file).catch(() => null);
    if (bytes === null) continue;
    if (sumOf(bytes) === sum) doomed.push(file);
    else say(`# ${file} was edited since: it stays`);
  }
  for (const file of [...doomed, places.written]) {
    say(shellLine(['rm', '-f', file]));
    if (!isPrintOnly) await rm(file, { force: true });
  }
}

/** Setup did not always remember its copy. */
async function isClusterCa(copy: string, caFile: string): Promise<boolean> {
  const [own, cluster] = await Promise.all(
    [copy, caFile].map((file) => readFile(file, 'utf8').catch(() => null)),
  );
  return own !== null && own === cluster;
}
