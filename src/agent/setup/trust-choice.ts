/**
 * Which trust fits the certificate that pveproxy shows: the cluster's own CA where it signed it,
 * the system's CAs where somebody put another certificate there, a pin where it signed itself.
 */
import { X509Certificate } from 'node:crypto';
import { stringify } from 'yaml';

export interface TrustChoice {
  /** Lines below `proxmox:` in config.yaml. */
  readonly settings: Readonly<Record<string, string>>;
  /** Does the agent need a copy of the cluster's CA? It may not read /etc/pve (PVE-FACTS 11). */
  readonly needsCa: boolean;
}

/** `leaf`: null where nothing answered; then it is as on a host nobody has changed. */
export function chooseTrust(
  leaf: X509Certificate | null,
  clusterCa: string | null,
  caFile: string,
): TrustChoice {
  const ours: TrustChoice = { settings: { ca_file: caFile }, needsCa: true };
  if (leaf === null || isSignedBy(leaf, clusterCa)) return ours;
  if (leaf.issuer === leaf.subject) {
    return { settings: { fingerprint: leaf.fingerprint256 }, needsCa: false };
  }
  const name = /(?:^|, )DNS:([^,]+)/.exec(leaf.subjectAltName ?? '')?.[1];
  const server = name === undefined ? {} : { server_name: name };
  return { settings: { ca_file: 'system', ...server }, needsCa: false };
}

function isSignedBy(leaf: X509Certificate, clusterCa: string | null): boolean {
  if (clusterCa === null) return false;
  try {
    const ca = new X509Certificate(clusterCa);
    return leaf.checkIssued(ca) && leaf.verify(ca.publicKey);
  } catch {
    return false;
  }
}

export interface FirstConfig {
  readonly node: string;
  readonly url: string;
  readonly tokenFile: string;
  readonly desiredFolder: string;
  readonly trust: TrustChoice;
}

/** What is left out has its default (deploy/examples/config.yaml has them all). */
export function firstConfig({ node, url, tokenFile, desiredFolder, trust }: FirstConfig): string {
  const settings = {
    node,
    proxmox: { url, token_file: tokenFile, ...trust.settings },
    desired: [{ file: desiredFolder }],
    reconcile: { mode: 'enforce' },
    policy: { unsigned: 'benign', operator: 'disruptive' },
  };
  const head =
    '# Written by `pve-reconciler setup`; yours to edit. All settings: docs/OPERATING.md\n';
  return head + stringify(settings, { lineWidth: 0 });
}
