/** The recordings of HA-managed guests, and of startall and stopall. */

import { behave, editByHand, later, running, startByHand, stopByHand } from './replay-hands.ts';
import type { Plan } from './replay-plans.ts';
import { type Change, scene } from './replay-scene.ts';

const managed: Change = { running: true, ha: 'started' };

/** Several recordings were made at once, with their own guests each. */
const OTHERS = 'other recordings changed the same file meanwhile';
const resourceDigests = {
  steps: [
    '/cluster/ha/resources',
    '/cluster/ha/resources/vm:103',
    '/cluster/ha/resources/vm:104',
    '/cluster/ha/resources/vm:105',
  ],
  keys: ['digest'],
  why: OTHERS,
};

/** `timestamp` and dates aside, the LRM's reports are one round older or newer. */
const managerStatus = {
  steps: ['/cluster/ha/status/manager_status'],
  why: 'which round of the LRM was the last is chance',
};

export const HA_PLANS: Readonly<Record<string, Plan>> = {
  ha_add_103: { guests: scene(), about: [103], loose: [managerStatus] },
  ha_103_start_stop: { guests: scene({ 103: managed }), about: [103] },
  ha_103_shutdown: { guests: scene({ 103: managed }), about: [103] },
  ha_106_acpi: {
    guests: scene({ 106: managed }),
    about: [106],
    leftOut: [
      { steps: [30], why: 'the monitor is not simulated: the guest is powered off by hand' },
    ],
    at: {
      31: (replay) => {
        replay.lastWriteMs = replay.ticker.nowMs();
        replay.ticker.after(400, () => void stopByHand(106)(replay));
      },
    },
  },
  ha_config_put: {
    guests: scene({ 101: { ...managed, config: { machine: 'pc-i440fx-7.2' } } }),
    about: [101],
    leftOut: [{ steps: [18], why: 'cloning is not simulated' }],
    loose: [{ steps: [11], keys: ['digest'], why: OTHERS }],
  },
  ha_disarm: {
    guests: scene({ 103: managed, 106: { ha: 'stopped' } }),
    about: [103, 106],
    at: {
      58: async (replay) => {
        replay.node.ha.updateResource('vm:106', 'stopped', []);
        await later(30_000)(replay);
      },
    },
    leftOut: [{ steps: [56, 115], why: 'single looks at another guest, at no stated time' }],
    loose: [resourceDigests, managerStatus],
  },
  ha_failing_start: {
    guests: scene({
      105: {
        start_error: "bridge 'vmbr9' does not exist",
        config: { description: 'y', memory: '32' },
      },
    }),
    about: [105],
    at: { 75: behave(105, { start_error: null }) },
    loose: [
      { steps: [1], keys: ['digest', 'net0'], why: 'the MAC is made up' },
      resourceDigests,
      managerStatus,
    ],
  },
  ha_ignored_disabled: {
    guests: scene({ 103: managed, 104: { config: { agent: '1' } } }),
    about: [104],
    // A round of the CRM fell in between.
    at: { 102: later(10_000) },
    loose: [resourceDigests, managerStatus],
  },
  ha_lxc_201: {
    guests: scene({ 201: { running: false } }),
    about: [201],
    at: {
      86: behave(201, { obeys_shutdown: false }),
      106: behave(201, { obeys_shutdown: true }),
    },
    leftOut: [{ steps: [113], why: 'lxc-stop on a frozen init has more to say' }],
    loose: [
      { steps: ['/nodes/pve1/tasks'], why: 'tasks of the minutes before are in the list' },
      {
        steps: ['/cluster/ha/resources/ct:201', ...resourceDigests.steps],
        keys: ['digest'],
        why: OTHERS,
      },
      managerStatus,
    ],
  },
  ha_race_start_during_shutdown: { guests: scene({ 102: managed }), about: [102] },
  ha_race_stop_during_shutdown: { guests: scene({ 101: managed }), about: [101] },
  ha_race_stop_then_start: { guests: scene({ 102: managed }), about: [102] },
  ha_remove: {
    guests: scene({ 101: managed }),
    about: [101],
    loose: [resourceDigests, managerStatus],
  },
  ha_restricted: {
    guests: scene({ 101: managed }),
    about: [101],
  },
  startall_stopall: {
    guests: scene(),
    about: [102, 104, 202],
    at: {
      50: async (replay) => {
        await editByHand(102, { onboot: '1', startup: 'order=2,up=2,down=4' })(replay);
        await editByHand(104, { onboot: '1', startup: 'order=1,up=2,down=4' })(replay);
      },
      76: editByHand(102, { startup: null }),
      98: startByHand(102),
    },
    loose: [
      {
        steps: ['/cluster/tasks', '/nodes/pve1/tasks'],
        why: 'which of the children was running at that instant is chance',
      },
    ],
  },
  stopall_everything: {
    guests: scene({
      103: managed,
      105: { config: { memory: '32' } },
      106: { ha: 'stopped' },
      202: running,
    }),
    loose: [
      {
        steps: ['/cluster/tasks', '/nodes/pve1/tasks'],
        why: 'which of the children was running at that instant is chance',
      },
    ],
  },
};
