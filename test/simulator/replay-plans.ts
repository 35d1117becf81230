/**
 * For every recording: the scene it starts from, what somebody's hand did between its steps, and
 * what is left out of the comparison, with the reason.
 */
import type { z } from 'zod';
import {
  AGENT,
  behave,
  both,
  EARLIER_TASKS,
  type Hand,
  LAB,
  later,
  lockByHand,
  running,
  startByHand,
  steps,
  stopByHand,
} from './replay-hands.ts';
import { HA_PLANS } from './replay-plans-ha.ts';
import { scene } from './replay-scene.ts';
import { TaskError } from './tasks.ts';
import type { guestSchema } from './world.ts';

export interface Plan {
  readonly guests: readonly z.input<typeof guestSchema>[];
  /** The guests it is about: rows of others are not compared. */
  readonly about?: readonly number[];
  readonly before?: Hand;
  /** What happens right before a step. */
  readonly at?: Readonly<Record<number, Hand>>;
  readonly leftOut?: readonly { readonly steps: readonly number[]; readonly why: string }[];
  /** Without keys: only status, reason, headers and the types of fields. */
  readonly loose?: readonly {
    /** By number, or by path. */
    readonly steps: readonly (number | string)[];
    readonly keys?: readonly string[];
    readonly why: string;
  }[];
}

const MAC_MADE_UP = 'the MAC is made up, and the digest with it';
const DISK_NAMES = 'volumes left over from earlier recordings decide about numbers and digests';

export const PLANS: Readonly<Record<string, Plan>> = {
  ...HA_PLANS,
  access_permissions: { guests: scene() },
  auth_errors: { guests: scene() },
  cluster_resources: { guests: scene() },
  cluster_resources_lag: { guests: scene() },
  config_option_kinds: {
    guests: scene(),
    leftOut: [
      { steps: [38], why: 'SSH keys are not parsed' },
      { steps: [125], why: 'there is no EFI firmware to look for' },
      { steps: [145, 146], why: DISK_NAMES },
    ],
    loose: [{ steps: [7, 43, 44, 124], keys: ['read_back'], why: `${DISK_NAMES}; a salt` }],
  },
  daemon_down: {
    guests: scene({ 103: {} }),
    at: {
      1: ({ node }) => node.daemon.setDown(true),
      5: ({ node }) => node.daemon.setDown(false),
    },
  },
  daemon_hangs: {
    guests: scene(),
    at: {
      0: ({ node }) => node.daemon.setStuck(3),
      1: async ({ node, ticker }) => {
        node.daemon.setStuck(0);
        await ticker.advance(2000);
      },
    },
    loose: [EARLIER_TASKS(2)],
  },
  delete_and_revert: {
    guests: scene({
      101: { config: { unused0: 'local:101/vm-101-disk-0.raw' } },
      106: running,
    }),
  },
  digest_semantics: { guests: scene() },
  http_limits: { guests: scene() },
  list_200_guests: { guests: scene() },
  list_guests: { guests: scene() },
  lock_contention: { guests: scene({ 103: running }) },
  locked_guest: {
    guests: scene({ 105: { config: { lock: 'backup' } }, 106: running }),
    at: {
      16: lockByHand(105, 'migrate'),
      32: lockByHand(105, 'snapshot'),
      49: lockByHand(105, 'suspended'),
      69: lockByHand(105, 'backup'),
      76: lockByHand(202, 'backup'),
    },
    loose: [{ steps: [1, 17, 33, 50], keys: ['digest'], why: 'the lock was put first, by hand' }],
  },
  lxc_config: {
    guests: scene(),
    loose: [{ steps: [55, 57], keys: ['digest'], why: 'the lock was taken out by hand' }],
    at: {
      53: ({ node }) => {
        const config = node.guests.get(202)?.config;
        config?.current.delete('lock');
        config?.touch();
      },
    },
  },
  lxc_power: { guests: scene(), at: { 39: startByHand(202) } },
  lxc_reboot_timeline: { guests: scene({ 202: running }) },
  lxc_shutdown_noforce: { guests: scene({ 201: { running: true, obeys_shutdown: false } }) },
  nonexistent: { guests: scene({ 106: running }) },
  pending_applied_at_start: {
    guests: scene({ 103: running }),
    at: { 2: stopByHand(103) },
  },
  permission_errors: {
    guests: scene({ 105: { config: { lock: 'backup' } } }),
    leftOut: [{ steps: [15], why: 'creating guests is not simulated' }],
  },
  plain_http: { guests: scene() },
  post_config_async: { guests: scene() },
  put_bad_params: {
    guests: scene(),
    loose: [
      { steps: [53, 55], keys: ['digest', 'net0', 'scsi0'], why: `${MAC_MADE_UP}; ${DISK_NAMES}` },
    ],
  },
  put_config_running_pending: {
    guests: scene({ 100: { running: true, config: { boot: '' } } }),
    at: { 41: stopByHand(100) },
    loose: [{ steps: [25], keys: ['value'], why: MAC_MADE_UP }],
  },
  put_config_stopped: { guests: scene() },
  reboot_ok: {
    guests: scene({ 106: running }),
    at: { 15: later(300) },
    loose: [EARLIER_TASKS(22)],
  },
  restricted_token_ops: {
    guests: scene({ 106: running }),
    at: { 18: later(3000), 19: later(1000) },
    loose: [EARLIER_TASKS(25)],
  },
  shutdown_graceful_acpi: { guests: scene({ 106: running }) },
  shutdown_timeout_forcestop: { guests: scene({ 103: running }) },
  shutdown_timeout_noforce: { guests: scene({ 103: running }) },
  start_already_running: { guests: scene() },
  start_ok: { guests: scene() },
  start_template: { guests: scene() },
  status_current: { guests: scene() },
  stop_already_stopped: { guests: scene() },
  stop_ok: { guests: scene({ 103: running }) },
  stop_running_task: { guests: scene({ 103: running }) },
  suspend_resume_reset: {
    guests: scene({ 103: running, 106: { running: true, qmp_status: 'shutdown' } }),
  },
  task_end_races: { guests: scene() },
  task_exit_warnings: {
    guests: scene({
      106: { start_warnings: ["netdev net0: ignoring MTU '1400', not using VirtIO"] },
    }),
    at: {
      9: both(
        stopByHand(106),
        behave(106, {
          start_warnings: [
            'no physical CD-ROM available, ignoring',
            "netdev net0: ignoring MTU '1400', not using VirtIO",
          ],
        }),
      ),
    },
  },
  task_list_filters: {
    guests: scene({ 103: running }),
    loose: [
      { steps: [...steps(0, 13), 18, 19, 20, 42, 43], why: 'the history before the recording' },
    ],
    before: async ({ node, ticker }) => {
      for (const type of ['qmstart', 'vzstop', 'vzstart']) {
        node.tasks.start(type, '103', LAB, async () => {});
        node.tasks.start(type, '103', AGENT, async () => {
          throw new TaskError('VM is locked (backup)');
        });
        await ticker.advance(1000);
      }
    },
  },
  task_log_paging: {
    guests: scene(),
    before: ({ node }) => {
      node.tasks.start('vzcreate', '202', LAB, async (task) => {
        task.log.push(
          "extracting archive '/var/lib/vz/template/cache/debian-12-lab_1_amd64.tar.gz'",
          'Total bytes read: 2007040 (2.0MiB, 124MiB/s)',
          'Detected container architecture: amd64',
        );
      });
    },
    at: {
      1: (replay) => {
        const here = replay.node.tasks.archive()[0]?.upid ?? '';
        replay.upids.set('UPID:pve1:00004541:0002B54A:6B00D4B9:vzcreate:202:root@pam!lab:', here);
      },
    },
    loose: [{ steps: [0], why: 'the history before the recording' }],
  },
  task_status_errors: { guests: scene() },
  task_warnings: {
    guests: scene(),
    at: {
      12: both(
        stopByHand(106),
        behave(106, { start_error: "volume 'local:iso/nosuch.iso' does not exist" }),
      ),
      16: behave(106, {
        start_error:
          "hookscript error for 106 on pre-start: script 'local:snippets/none.pl' does not exist ",
      }),
    },
    leftOut: [
      { steps: [4], why: 'lines of a config file that cannot be parsed are not simulated' },
      { steps: [11], why: 'volumes have no files' },
    ],
    loose: [{ steps: [0], keys: ['digest'], why: 'the file had an unparsable line' }],
  },
  task_worker_killed: {
    guests: scene({ 103: running }),
    at: {
      2: ({ node }) => {
        for (const task of node.tasks.running()) node.tasks.kill(task.upid);
      },
    },
  },
  ticket_auth: {
    guests: scene(),
    leftOut: [{ steps: steps(0, 4), why: 'tickets are not simulated: tokens need none' }],
  },
  version: {
    guests: scene(),
    loose: [
      { steps: [2], keys: ['flags', 'model', 'kversion', 'release'], why: 'another machine' },
    ],
  },
};
