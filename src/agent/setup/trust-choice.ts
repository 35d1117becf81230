/**
 * Which trust fits the certificate that pveproxy shows: the cluster's own CA where it signed it,
 * the system's CAs where they vouch for another one that somebody put there, a pin where nobody does.
 */
import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { stringify } from 'yaml';
import type { ShownCertificate } from '../doctor/certificate.ts';

export interface TrustChoice {
  /** Lines below `proxmox:` in config.yaml. */
  readonly settings: Readonly<Record<string, string>>;
  /** Does the agent need a copy of the cluster's CA? It may not read /etc/pve (PVE-FACTS 11). */
  readonly needsCa: boolean;
  /** For people, where it is not as on a host nobody has changed. */
  readonly why: string | null;
}

export interface TrustPlaces {
  /** PEM text; null where it cannot be read. */
  readonly clusterCa: string | null;
  /** Where the agent's copy of it will be. */
  readonly caFile: string;
  readonly url: string;
  readonly node: string;
}

/** `shown`: null where nothing answered; then it is as on a host nobody has changed. */
export function chooseTrust(
  shown: ShownCertificate | null,
  { clusterCa, caFile, url, node }: TrustPlaces,
): TrustChoice {
  if (shown === null) return { settings: { ca_file: caFile }, needsCa: true, why: null };
  const { certificate, isSystemTrusted } = shown;
  const host = new URL(url).hostname.replace(/^\[(.*)\]$/, '$1');
  const isCovered = covers(certificate, host);
  const name = isCovered ? null : ownName(certificate, node);
  const named = name === null ? {} : { server_name: name };
  if (isSignedBy(certificate, clusterCa)) {
    return { settings: { ca_file: caFile, ...named }, needsCa: true, why: null };
  }
  if (isSystemTrusted && (isCovered || name !== null)) {
    const why = "the node shows a certificate that the system's own CAs vouch for";
    return { settings: { ca_file: 'system', ...named }, needsCa: false, why };
  }
  return {
    settings: { fingerprint: certificate.fingerprint256 },
    needsCa: false,
    why: 'nobody known here vouches for the certificate that the node shows: it is pinned',
  };
}

function covers(certificate: X509Certificate, host: string): boolean {
  const found = isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host);
  return found !== undefined;
}

/** The name by which the certificate means this node: `*.example.com` is nobody's own. */
function ownName({ subjectAltName }: X509Certificate, node: string): string | null {
  const names = [...(subjectAltName ?? '').matchAll(/(?:^|, )DNS:([^,\s]+)/g)].map(
    ([, name = '']) => name.replace(/^\*(?=\.)/, node),
  );
  return names.find((name) => name === node || name.startsWith(`${node}.`)) ?? names[0] ?? null;
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
    '# Written by `pve-reconciler setup`; yours to edit. All settings: man 5 pve-reconciler\n';
  return head + stringify(settings, { lineWidth: 0 });
}
