/** What setup makes on a PVE host is found again by these names, also by doctor and `--remove`. */
export const SETUP_USER = 'pve-reconciler@pve';

/** The account the unit runs as (deploy/systemd). */
export const AGENT_ACCOUNT = 'pve-reconciler';

/** Users are the cluster's, agents are the nodes': each has a token of its own. */
export function tokenIdOf(node: string): string {
  return `agent-${node}`;
}
