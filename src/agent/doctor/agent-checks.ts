/** What belongs to the agent besides PVE: documents, signers, the hub, the running agent itself. */

import { lstatSync } from 'node:fs';
import type { DesiredState } from '../../reconcile/desired.ts';
import type { ErrorCode } from '../../reconcile/errors.ts';
import type { ActualState } from '../../reconcile/guest.ts';
import { type Config, readTlsTrust } from '../config/config.ts';
import { API } from '../control/api.ts';
import type { AgentDocument } from '../control/documents.ts';
import { findAgent } from '../control/find-agent.ts';
import { desiredProblems } from '../daemon/last-look.ts';
import { loadSigners } from '../hub/signers.ts';
import { counted } from '../terminal/counted.ts';
import { expiryFinding, fetchCertificate } from './certificate.ts';
import { type Finding, failure, fromError, ok, warning } from './finding.ts';

const DAY_MS = 86_400_000;
const EXPIRY_WARNING_DAYS = 30;

/** `actual`: null where the node could not be asked. */
export function desiredFindings(
  desired: DesiredState,
  actual: ActualState | null,
): readonly Finding[] {
  const problems = desiredProblems(desired).map(({ message }) =>
    failure('desired', {
      message,
      means: 'what is wrong is not in force; the last good version is, where there was one',
      fix: '`pve-reconciler validate FILE`',
    }),
  );
  const isWhole = actual?.qemu.kind === 'complete' && actual.lxc.kind === 'complete';
  const absent = isWhole
    ? [...desired.guests.keys()].filter((id) => !actual.guests.has(id) && !actual.unseen.has(id))
    : [];
  const missing = absent.map((vmid) =>
    warning('desired', {
      message: `guest ${vmid} is desired and not on this node`,
      means: 'nothing is done: guests are never made or deleted',
      fix: `take it out of the document, or look where it is: \`pvesh get /cluster/resources\``,
    }),
  );
  const findings = [...problems, ...missing];
  if (findings.length > 0) return findings;
  return [ok('desired', `${counted(desired.guests.size, 'guest is', 'guests are')} desired`)];
}

export async function signerFindings(config: Config): Promise<readonly Finding[]> {
  try {
    const signers = await loadSigners(config);
    if (signers.length === 0) return [ok('signers', 'nobody may sign ops')];
    const ending = signers.flatMap(({ keyid, notAfterMs }) => {
      const days = notAfterMs === null ? null : Math.floor((notAfterMs - Date.now()) / DAY_MS);
      if (days === null || days >= EXPIRY_WARNING_DAYS) return [];
      const when = days < 0 ? 'have not counted since' : 'count until';
      const message = `signatures of ${keyid} ${when} ${new Date(notAfterMs ?? 0).toISOString()}`;
      return [
        warning('signers', {
          message,
          means: 'what it signs is refused from then on',
          fix: 'give it a new key: `pve-reconciler keys generate`, then `signers` in config.yaml',
        }),
      ];
    });
    const { irreversibleSignatures: needed } = config.policy;
    const few =
      signers.length >= needed
        ? []
        : [
            warning('signers', {
              message: `${counted(signers.length, 'signer')}, and what is irreversible takes ${needed}`,
              means: 'no irreversible op can ever pass',
              fix: 'add signers, if such ops are wanted at all',
            }),
          ];
    const findings = [...ending, ...few];
    return findings.length > 0 ? findings : [ok('signers', `${signers.length} may sign ops`)];
  } catch (error) {
    return [fromError('signers', error, 'the agent refuses to start')];
  }
}

export async function hubFindings(config: Config): Promise<readonly Finding[]> {
  const { hub } = config;
  if (hub === null) return [ok('hub', 'no hub is configured')];
  try {
    const trust = await readTlsTrust(config, 'hub');
    const shown = await fetchCertificate(hub.url, hub.serverName);
    if (shown === null) {
      return [
        failure('hub', {
          message: `${hub.url} cannot be reached over TLS`,
          means: 'signed ops do not arrive, and receipts wait here; reconciling goes on',
          fix: 'check `hub.url`, name resolution and the way out of this host',
        }),
      ];
    }
    const { certificate } = shown;
    const isPinned = trust.kind === 'fingerprint';
    if (isPinned && trust.fingerprint !== certificate.fingerprint256) {
      return [
        failure('hub', {
          message: `the hub's SHA-256 is ${certificate.fingerprint256}, not the pinned one`,
          means: 'nothing is taken from it and nothing is sent to it',
          fix: 'ask whoever runs the hub; put the new one into `hub.fingerprint` if it is right',
        }),
      ];
    }
    const what = "the hub's certificate";
    return [expiryFinding({ certificate, what, nowMs: Date.now(), isPinned, check: 'hub' })];
  } catch (error) {
    return [fromError('hub', error, 'the hub cannot be dialled')];
  }
}

/** What PVE answers to settings that are read at the start alone: the agent's, if not ours. */
const SETTINGS_CODES: readonly ErrorCode[] = ['tls_untrusted', 'unauthorized', 'not_found'];

/** `isNodeSeen`: with the settings as they are now the guests of the node could be listed. */
export async function socketFindings(
  config: Config,
  { isNodeSeen }: { readonly isNodeSeen: boolean },
): Promise<readonly Finding[]> {
  const { socket } = config.control;
  try {
    await using agent = await findAgent(socket);
    if (agent === null) return [idleSocketFinding(socket)];
    const { readiness, parts } = await agent.call(API.getAgent);
    const hub = agentHubFindings(parts);
    if (readiness.ready)
      return [ok('control_socket', `the agent behind ${socket} is ready`), ...hub];
    const reasons = readiness.reasons.map((reason) => {
      const message = `the agent is not ready: [${reason.code}] ${reason.message}`;
      if (isNodeSeen && SETTINGS_CODES.includes(reason.code)) {
        return failure('control_socket', {
          message,
          means: 'with the settings as they are now the node answers: it runs with older settings',
          fix: '`systemctl restart pve-reconciler`',
        });
      }
      return warning('control_socket', {
        message,
        means: 'it goes on with what it can do',
        fix: '`pve-reconciler status`, `journalctl -u pve-reconciler`',
      });
    });
    return [...reasons, ...hub];
  } catch (error) {
    return [fromError('control_socket', error, 'commands cannot talk to the agent')];
  }
}

/** What only the running agent knows of its hub: whether it takes what it is sent. */
function agentHubFindings(parts: AgentDocument['parts']): readonly Finding[] {
  const broken = parts.filter(({ name, ok: isFine }) => name === 'hub' && !isFine);
  return broken.map(({ message }) =>
    warning('hub', {
      message: `the agent says of its hub: ${message}`,
      means: 'signed ops may not arrive, and receipts wait here; reconciling goes on',
      fix: 'ask whoever runs the hub: docs/HUB.md says what each of its answers does',
    }),
  );
}

function idleSocketFinding(socket: string): Finding {
  const stats = lstatSync(socket, { throwIfNoEntry: false });
  if (stats === undefined || stats.isSocket()) {
    return ok('control_socket', `no agent runs behind ${socket}`);
  }
  return failure('control_socket', {
    message: `${socket} is no socket`,
    means: 'the agent refuses to start',
    fix: 'move it out of the way, or name another `control.socket`',
  });
}
