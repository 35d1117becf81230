/**
 * What each error code means to whoever runs the command: the exit status (CONTRACT 2) and the
 * next step. docs/ERRORS.md is the same table with causes; a test compares the two.
 */
import type { ErrorCode } from '../reconcile/errors.ts';

/** sysexits, as CONTRACT 2 names them. */
export const EXIT = {
  ok: 0,
  failed: 1,
  differs: 2,
  usage: 64,
  badData: 65,
  unavailable: 69,
  halted: 70,
  tryAgain: 75,
  permission: 77,
  config: 78,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

interface ErrorEntry {
  readonly exit: ExitCode;
  readonly hint: string;
}

export const ERROR_TABLE: Readonly<Record<ErrorCode, ErrorEntry>> = {
  invalid_request: {
    exit: EXIT.usage,
    hint: 'correct what the message names',
  },
  not_found: { exit: EXIT.failed, hint: '`pve-reconciler status` lists the guests there are' },
  ambiguous_ref: { exit: EXIT.usage, hint: 'name the guest by its vmid, or type more of the name' },
  conflict: {
    exit: EXIT.failed,
    hint: 'see to what the message names; what desired state would undo takes `--hold 1h`, or another document',
  },
  unauthorized: {
    exit: EXIT.permission,
    hint: 'check the token file against `pveum user token list USER`',
  },
  forbidden: {
    exit: EXIT.permission,
    hint: 'give what the message names: the privilege to the token (see `pve-reconciler doctor`), or `signers[].allow` to the signer',
  },
  gate_denied: {
    exit: EXIT.permission,
    hint: 'send it as a signed op with the signatures the message names',
  },
  signature_invalid: {
    exit: EXIT.permission,
    hint: 'check that `signers` holds the public key it was signed with',
  },
  wrong_audience: { exit: EXIT.badData, hint: 'sign it for this agent: `agent` in config.yaml' },
  expired: {
    exit: EXIT.badData,
    hint: 'sign it again, and check both clocks; after a repair look at the guest first',
  },
  idemp_key_reused: { exit: EXIT.badData, hint: 'a new op takes a new idempotency key' },
  queue_full: { exit: EXIT.tryAgain, hint: 'send it again when ops in flight have ended' },
  cancelled: { exit: EXIT.failed, hint: 'nothing was sent; ask again if it is still wanted' },
  guest_locked: {
    exit: EXIT.failed,
    hint: 'wait for what holds the lock (a backup, a migration); `qm unlock` only if it is dead',
  },
  guest_busy: { exit: EXIT.failed, hint: 'wait for the task the message names' },
  guest_moved: {
    exit: EXIT.failed,
    hint: 'the agent of the node it is on now takes care of it',
  },
  is_template: { exit: EXIT.failed, hint: 'take the guest out of the desired state' },
  digest_stale: { exit: EXIT.failed, hint: 'plan again: the config has changed meanwhile' },
  task_failed: { exit: EXIT.failed, hint: '`pve-reconciler ops show ID` has the end of its log' },
  task_lost: { exit: EXIT.failed, hint: 'look at the guest; PVE no longer knows the task' },
  not_converged: {
    exit: EXIT.failed,
    hint: 'look at the guest and its HA state: `ha-manager status`',
  },
  timeout: {
    exit: EXIT.failed,
    hint: 'give the guest longer (`--timeout`, in a document `stop.timeout`), or cut its power (`--hard`, `stop.mode: stop`)',
  },
  interrupted: { exit: EXIT.failed, hint: '`pve-reconciler plan` shows what is left to do' },
  service_unavailable: {
    exit: EXIT.unavailable,
    hint: 'check `proxmox.url`, and that pveproxy and pvedaemon run on the node',
  },
  tls_untrusted: {
    exit: EXIT.unavailable,
    hint: 'check `ca_file` or `fingerprint`, and `server_name` where the certificate has another name; then `systemctl restart pve-reconciler`',
  },
  desired_invalid: {
    exit: EXIT.badData,
    hint: 'mend the document: `pve-reconciler validate FILE` checks it without touching anything',
  },
  config_invalid: {
    exit: EXIT.config,
    hint: 'mend the configuration: `man 5 pve-reconciler`, or /usr/share/doc/pve-reconciler/examples/config.yaml, has every setting',
  },
  journal_locked: {
    exit: EXIT.tryAgain,
    hint: 'an agent is running: stop it, or let it do the work',
  },
  journal_corrupt: {
    exit: EXIT.halted,
    hint: 'look with `journal verify`; `journal repair` writes a repaired copy, keeping the original; `format`: install the version that wrote it',
  },
  journal_poisoned: {
    exit: EXIT.halted,
    hint: 'see to the disk of state_dir (full, read-only, failing), then start again',
  },
  internal_error: {
    exit: EXIT.halted,
    hint: 'please report it with the message and the last lines of the log',
  },
};
