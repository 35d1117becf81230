/**
 * Everything doctor looks at, in the order in which one thing stands on another: what cannot be
 * asked any more, because what is below it is broken, is left out. Reads only.
 */
import { createProxmox, type Proxmox } from '../../proxmox/node.ts';
import type { Permissions } from '../../proxmox/permissions.ts';
import type { PveToken } from '../../proxmox/token.ts';
import type { TlsTrust } from '../../proxmox/trust.ts';
import type { DesiredState } from '../../reconcile/desired.ts';
import type { ActualState } from '../../reconcile/guest.ts';
import { type Config, loadConfig, readTlsTrust, readToken } from '../config/config.ts';
import { blindness } from '../daemon/last-look.ts';
import { actAsOwner } from '../daemon/state-owner.ts';
import { createConfiguredProvider } from '../desired/configured.ts';
import { systemClock, systemRandom } from '../system.ts';
import { desiredFindings, hubFindings, signerFindings, socketFindings } from './agent-checks.ts';
import { type Finding, failure, fromError, ok } from './finding.ts';
import { hostFindings, looksFinding } from './host-checks.ts';
import { certificateFindings, clockFinding, connectionFindings, haFinding } from './node-checks.ts';
import { privilegeFindings, scopeFindings } from './privileges.ts';
import { trustedFileFindings } from './trusted-files.ts';

export async function examine(
  configFile: string,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  let config: Config;
  try {
    config = await loadConfig(configFile);
  } catch (error) {
    return [fromError('configuration', error, 'the agent refuses to start')];
  }
  // What the agent cannot read must not look as if it could.
  actAsOwner(config.stateDir);
  const desired = await readDesired(config, signal);
  const node = await nodeFindings(config, desired, signal);
  return [
    ok('configuration', `${configFile} is valid: mode ${config.policy.mode}`),
    ...(await trustedFileFindings(config)),
    ...node.findings,
    ...desiredFindings(desired, node.actual),
    ...(await hostFindings(config)),
    ...(await signerFindings(config)),
    ...(await hubFindings(config)),
    ...(await socketFindings(config, { isNodeSeen: isSeen(node.actual) })),
    looksFinding(config),
  ];
}

function isSeen(actual: ActualState | null): boolean {
  return actual !== null && blindness(actual) === null;
}

async function readDesired(config: Config, signal: AbortSignal): Promise<DesiredState> {
  const provider = createConfiguredProvider(config.desired, systemClock);
  try {
    return await provider.read(signal);
  } finally {
    await provider.close();
  }
}

interface NodeExamined {
  readonly findings: readonly Finding[];
  readonly actual: ActualState | null;
}

async function nodeFindings(
  config: Config,
  desired: DesiredState,
  signal: AbortSignal,
): Promise<NodeExamined> {
  const findings: Finding[] = [];
  const token = await readToken(config).catch((error: unknown) => {
    findings.push(fromError('token', error, 'the node cannot be asked anything'));
    return null;
  });
  const tls = await readTlsTrust(config).catch((error: unknown) => {
    findings.push(fromError('certificate', error, 'no certificate of the node can be trusted'));
    return null;
  });
  if (tls === null || token === null) return { findings, actual: null };
  findings.push(...(await certificateFindings(config, tls)));
  let proxmox: Proxmox;
  try {
    proxmox = connect(config, token, tls);
  } catch (error) {
    findings.push(fromError('certificate', error, 'no certificate of the node can be trusted'));
    return { findings, actual: null };
  }
  try {
    const { findings: connected, held } = await connectionFindings(proxmox, config, signal);
    findings.push(...connected);
    if (held === null) return { findings, actual: null };
    const asked = { config, held, desired, tokenUser: token.user };
    const { actual, findings: more } = await askOn(proxmox, asked, signal);
    return { findings: [...findings, ...more], actual };
  } finally {
    await proxmox.close();
  }
}

function connect(config: Config, token: PveToken, tls: TlsTrust): Proxmox {
  return createProxmox({
    url: config.proxmox.url,
    node: config.node,
    token,
    tls,
    clock: systemClock,
    random: systemRandom,
  });
}

async function askOn(
  proxmox: Proxmox,
  asked: {
    readonly config: Config;
    readonly held: Permissions;
    readonly desired: DesiredState;
    readonly tokenUser: string;
  },
  signal: AbortSignal,
): Promise<NodeExamined> {
  const wanted = new Set(asked.desired.guests.keys());
  const actual = await proxmox.guests.observe({ configs: wanted, wanted }, signal);
  const findings = [
    ...privilegeFindings({ ...asked, actual }),
    ...scopeFindings(asked),
    await clockFinding(proxmox, signal),
    haFinding(await proxmox.guests.lookAtNode(signal)),
  ];
  return { findings: [...findings, ...listFindings(actual, asked.config.node)], actual };
}

/** What privileges explain has been said; a wrong node name has not. */
function listFindings(actual: ActualState, node: string): readonly Finding[] {
  const lists = [actual.qemu, actual.lxc].flatMap((list) =>
    list.kind === 'unknown' ? [list.problem] : [],
  );
  const problems = [...lists, ...actual.unseen.values()].flatMap(({ code, message }) =>
    code === 'forbidden' ? [] : [message],
  );
  return [...new Set(problems)].map((message) =>
    failure('connection', {
      message,
      means: `the guests of ${node} cannot be listed`,
      fix: 'is `node` in config.yaml what PVE calls this node? `pvesh get /nodes`',
    }),
  );
}
