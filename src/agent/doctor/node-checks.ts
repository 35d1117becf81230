/**
 * What can only be told by asking the node: is it there and trusted, is it PVE, does it take the
 * token, what may the token do, do the clocks agree, how is the cluster. Reads only.
 */

import type { Proxmox } from '../../proxmox/node.ts';
import type { Permissions } from '../../proxmox/permissions.ts';
import type { TlsTrust } from '../../proxmox/trust.ts';
import type { ErrorCode, Problem } from '../../reconcile/errors.ts';
import type { NodeLook } from '../../reconcile/guest.ts';
import type { Config } from '../config/config.ts';
import { unseenHint } from '../daemon/last-look.ts';
import { ERROR_TABLE } from '../errors.ts';
import { counted } from '../terminal/counted.ts';
import { expiryFinding, fetchCertificate, readCertificates } from './certificate.ts';
import { type Check, type Finding, failure, ok, warning } from './finding.ts';

/** What is known to work; 7 and older lack SDN.Use and more. */
const VERSION_MIN = 8;
const VERSION_MAX = 9;
/** Tasks are dated in whole seconds; less than this is measuring. */
const CLOCK_WARNING_MS = 5_000;
/** The skew a signed op is allowed (CONTRACT 7). */
const CLOCK_ERROR_MS = 60_000;

export async function certificateFindings(
  config: Config,
  trust: TlsTrust,
): Promise<readonly Finding[]> {
  const nowMs = Date.now();
  const { url, serverName, trust: entry } = config.proxmox;
  const findings: Finding[] = [];
  if (trust.kind === 'ca' && entry.kind === 'ca_file') {
    for (const ca of readCertificates(trust.ca)) {
      findings.push(
        expiryFinding({ certificate: ca, what: `the CA in ${entry.path}`, nowMs, isPinned: false }),
      );
    }
  }
  const shown = await fetchCertificate(url, serverName);
  if (shown === null) return findings;
  const isPinned = trust.kind === 'fingerprint';
  const what = "the node's certificate";
  const { certificate } = shown;
  return [...findings, expiryFinding({ certificate, what, nowMs, isPinned })];
}

const MEANS: Readonly<Partial<Record<ErrorCode, string>>> = {
  tls_untrusted: 'who answers there is not known to be the node, so nothing is sent to it',
  unauthorized: 'the token is wrong, was revoked or has expired: nothing can be seen or done',
  forbidden: 'the token may not even ask this',
  service_unavailable: 'the node is not reached, or does not answer as a working PVE does',
};

const CHECK_OF: Readonly<Partial<Record<ErrorCode, Check>>> = {
  tls_untrusted: 'certificate',
  unauthorized: 'token',
};

function refused(problem: Problem, asked: AskedWith): Finding {
  const { tokenFile } = asked.proxmox;
  const hint = unseenHint(problem.code, asked) ?? ERROR_TABLE[problem.code].hint;
  const renewal = `make a new one: \`rm ${tokenFile} && pve-reconciler setup\`, then start the agent again`;
  return failure(CHECK_OF[problem.code] ?? 'connection', {
    message: problem.message,
    means: MEANS[problem.code] ?? 'the node cannot be asked',
    fix: problem.code === 'unauthorized' ? renewal : hint,
  });
}

type AskedWith = Pick<Config, 'node' | 'proxmox'>;

/** Null permissions: there is no use in asking on. */
export async function connectionFindings(
  proxmox: Proxmox,
  asked: AskedWith,
  signal: AbortSignal,
): Promise<{ readonly findings: readonly Finding[]; readonly held: Permissions | null }> {
  const version = await proxmox.version(signal);
  if (version.kind === 'failure') {
    return { findings: [refused(version.problem, asked)], held: null };
  }
  const findings = [
    ok('connection', `${asked.proxmox.url} answers`),
    versionFinding(version.value.version),
  ];
  const held = await proxmox.permissions(signal);
  if (held.kind === 'failure') {
    return { findings: [...findings, refused(held.problem, asked)], held: null };
  }
  return { findings: [...findings, ok('token', 'the node takes the token')], held: held.value };
}

function versionFinding(version: string): Finding {
  const major = Number(/^\d+/.exec(version)?.[0]);
  if (major >= VERSION_MIN && major <= VERSION_MAX) return ok('version', `Proxmox VE ${version}`);
  const trouble = {
    message: `Proxmox VE ${version} is not among ${VERSION_MIN} and ${VERSION_MAX}`,
    means: 'what its answers and options mean was never checked',
  };
  return major > VERSION_MAX
    ? warning('version', { ...trouble, fix: 'look for a newer pve-reconciler' })
    : failure('version', { ...trouble, fix: `upgrade the node to Proxmox VE ${VERSION_MAX}` });
}

export async function clockFinding(proxmox: Proxmox, signal: AbortSignal): Promise<Finding> {
  const offsetMs = await proxmox.clockOffsetMs(signal);
  if (offsetMs === null) {
    return warning('clock', {
      message: "the node's clock cannot be read",
      means: 'it is only learnt from tasks of our own',
      fix: 'grant Sys.Audit on the node (above)',
    });
  }
  const seconds = (Math.abs(offsetMs) / 1000).toFixed(1);
  const side = offsetMs < 0 ? 'behind' : 'ahead of';
  const message = `the node's clock is ${seconds} s ${side} ours`;
  if (Math.abs(offsetMs) < CLOCK_WARNING_MS) return ok('clock', message);
  const trouble = {
    message,
    means: 'signed ops may come too early or too late; tasks are matched all the same',
    fix: 'set both by NTP: `chronyc tracking`, `timedatectl`',
  };
  return Math.abs(offsetMs) < CLOCK_ERROR_MS
    ? warning('clock', trouble)
    : failure('clock', trouble);
}

export function haFinding(look: NodeLook): Finding {
  if (look.quorate === false) {
    return failure('ha', {
      message: 'the cluster has no quorum',
      means: 'every change is refused by PVE until it has',
      fix: '`pvecm status`',
    });
  }
  if (look.ha === 'disarmed' || look.ha === 'frozen') {
    return warning('ha', {
      message: `the HA manager is ${look.ha}`,
      means: 'what is asked of HA-managed guests would be lost, so it waits',
      fix: '`ha-manager status`; it goes on by itself when HA is armed again',
    });
  }
  const count = look.managed?.size ?? 0;
  if (look.ha === 'unknown') {
    return warning('ha', {
      message: 'the state of the HA manager cannot be read',
      means: 'a frozen or disarmed HA manager, and lost quorum, are not noticed',
      fix: 'grant Sys.Audit on / (above)',
    });
  }
  return ok(
    'ha',
    count === 0
      ? 'no guest is managed by HA'
      : counted(count, 'guest is managed by HA', 'guests are managed by HA'),
  );
}
