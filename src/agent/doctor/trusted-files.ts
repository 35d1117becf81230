/**
 * The files whose word is taken and that anybody may read: config.yaml says who may ask for what,
 * a `ca_file` says who is the node or the hub. The agent reads them whoever may write them; doctor
 * says so, by the file that a link leads to.
 */
import { stat } from 'node:fs/promises';
import type { Config } from '../config/config.ts';
import { type Check, type Finding, failure } from './finding.ts';

const OTHERS_WRITE = 0o022;

/** The owners that count are root and `ownUid`, the account of the agent. */
export async function trustedFileFindings(
  config: Config,
  ownUid = process.geteuid?.() ?? 0,
): Promise<readonly Finding[]> {
  const findings = trustedFiles(config).map((file) => fileFinding(file, ownUid));
  return (await Promise.all(findings)).filter((finding) => finding !== null);
}

interface TrustedFile {
  readonly path: string;
  readonly check: Check;
  /** What whoever may write it can do. */
  readonly means: string;
}

function trustedFiles({ file, proxmox, hub }: Config): readonly TrustedFile[] {
  const files: TrustedFile[] = [
    { path: file, check: 'configuration', means: 'they decide who may ask the agent for what' },
  ];
  if (proxmox.trust.kind === 'ca_file') {
    const { path } = proxmox.trust;
    files.push({ path, check: 'certificate', means: 'they decide who passes for the node' });
  }
  if (hub?.trust.kind === 'ca_file') {
    const { path } = hub.trust;
    files.push({ path, check: 'hub', means: 'they decide who passes for the hub' });
  }
  return files;
}

async function fileFinding(
  { path, check, means }: TrustedFile,
  ownUid: number,
): Promise<Finding | null> {
  // Why it cannot be had is said where it is read.
  const stats = await stat(path).catch(() => null);
  if (stats === null) return null;
  if ((stats.mode & OTHERS_WRITE) !== 0) {
    const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0');
    const message = `${path} can be written by others (mode ${mode})`;
    return failure(check, { message, means, fix: `chmod go-w ${path}` });
  }
  if (stats.uid === 0 || stats.uid === ownUid) return null;
  const owner = `uid ${stats.uid}, neither to root nor to the agent (uid ${ownUid})`;
  const message = `${path} belongs to ${owner}`;
  return failure(check, { message, means, fix: `chown root ${path}` });
}
