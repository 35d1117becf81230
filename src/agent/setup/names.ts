/** What setup makes on a PVE host is found again by these names, also by doctor and `--remove`. */
export const SETUP_USER = 'pve-reconciler@pve';
