/** Checks that start, stop and configure the one guest that was given for it, and put it back. */
import assert from 'node:assert/strict';
import type { Guest, GuestConfig, GuestRef } from '../../src/reconcile/guest.ts';
import type { Submission, TaskEnd } from '../../src/reconcile/ports.ts';
import { lookAt, told } from './read-checks.ts';
import type { Check, Context, Skipped } from './suite.ts';

/** What form bodies, old parsers and careless quoting lose (PVE-FACTS 1). */
const ODD_TEXT = 'a=b=c; d&e %41 + "q" \\ ü €\nsecond line';
const HARD_STOP = { mode: 'stop', timeout_s: 30, force: false } as const;

type GuestCheck = (context: Context, guest: Guest) => Promise<Skipped | undefined>;

export const WRITE_CHECKS: readonly Check[] = [
  claim('a description comes back as it was written', async (context, guest) => {
    const before = configOf(guest);
    const old = before.current.get('description');
    await setConfig(context, guest, { set: { description: ODD_TEXT }, delete: [] }, before.digest);
    const written = configOf(await look(context, guest));
    assert.equal(written.current.get('description')?.trimEnd(), ODD_TEXT);
    const back =
      old === undefined
        ? { set: {}, delete: ['description'] }
        : { set: { description: old }, delete: [] };
    await setConfig(context, guest, back, written.digest);
    const after = configOf(await look(context, guest));
    assert.equal(after.digest, before.digest, 'the same content has the same digest');
    return undefined;
  }),
  claim('a stale digest is refused, and nothing is written', async (context, guest) => {
    const { digest } = configOf(guest);
    const change = { set: { description: 'x' }, delete: [], digest: '0'.repeat(40) };
    const { proxmox, signal } = context;
    refusedAs(await proxmox.guests.setConfig(guest, change, signal), 'digest_stale');
    assert.equal(configOf(await look(context, guest)).digest, digest);
    return undefined;
  }),
  claim('an option that does not exist is refused', async (context, guest) => {
    const change = { set: { bogus: '1' }, delete: [], digest: configOf(guest).digest };
    const { proxmox, signal } = context;
    refusedAs(await proxmox.guests.setConfig(guest, change, signal), 'invalid_request');
    return undefined;
  }),
  claim('a start ends with a guest that runs, booted just now', async (context, guest) => {
    if (guest.power === 'running') {
      await stop(context, guest);
    }
    const sinceMs = Date.now();
    const { proxmox, signal } = context;
    const end = await awaitSubmitted(context, await proxmox.guests.start(guest, signal));
    assert.ok(end.kind === 'ok' || end.kind === 'warning', told(end));
    const running = await look(context, guest);
    assert.equal(running.power, 'running');
    const bootedAtMs = running.bootedAtMs ?? 0;
    assert.ok(Math.abs(bootedAtMs - sinceMs) < 10_000, `booted ${bootedAtMs - sinceMs} ms after`);
    return undefined;
  }),
  claim('the start is found again as our own task', async (context, guest) => {
    const search = { guest, sinceMs: Date.now() - 60_000, newerThan: null };
    const found = await context.proxmox.guests.findTasks(search, context.signal);
    assert.equal(found.kind, 'found', told(found));
    if (found.kind !== 'found') return undefined;
    const [newest] = found.tasks;
    assert.equal(newest?.role, 'start');
    assert.equal(newest.isOurs, true);
    return undefined;
  }),
  claim('a start of a running guest changes nothing, and says so', async (context, guest) => {
    const { proxmox, signal } = context;
    const submission = await proxmox.guests.start(guest, signal);
    if (guest.kind === 'lxc') {
      refusedAs(submission, 'conflict');
    } else {
      const end = await awaitSubmitted(context, submission);
      assert.equal(end.kind, 'error', told(end));
      if (end.kind === 'error') assert.equal(end.problem.code, 'conflict');
    }
    assert.equal((await look(context, guest)).power, 'running');
    return undefined;
  }),
  claim('a stop ends with a guest that is stopped', async (context, guest) => {
    await stop(context, guest);
    assert.equal((await look(context, guest)).power, 'stopped');
    return undefined;
  }),
  claim('a stop of a stopped guest changes nothing', async (context, guest) => {
    const { proxmox, signal } = context;
    const submission = await proxmox.guests.stop(guest, HARD_STOP, signal);
    if (guest.kind === 'lxc') refusedAs(submission, 'conflict');
    else assert.equal((await awaitSubmitted(context, submission)).kind, 'ok');
    return undefined;
  }),
];

/** A check of the given guest, which must be one that can be used up: plain and unlocked. */
function claim(name: string, run: GuestCheck): Check {
  return {
    name,
    run: async (context) => {
      if (context.guest === null) return { skipped: 'needs --allow-writes --guest VMID' };
      const guest = await look(context, context.guest);
      const isPlain = !guest.template && guest.lock === null && guest.ha.kind === 'unmanaged';
      return isPlain ? run(context, guest) : { skipped: 'a template, locked or HA-managed' };
    },
  };
}

async function look(context: Context, ref: GuestRef): Promise<Guest> {
  const result = await lookAt(context, ref);
  if (result.kind !== 'found') throw new Error(`guest ${ref.vmid}: ${told(result)}`);
  return result.guest;
}

function configOf(guest: Guest): GuestConfig {
  if (guest.config.kind !== 'known') throw new Error(told(guest.config));
  return guest.config.config;
}

async function setConfig(
  context: Context,
  guest: GuestRef,
  change: { readonly set: Readonly<Record<string, string>>; readonly delete: readonly string[] },
  digest: string,
): Promise<void> {
  const { proxmox, signal } = context;
  const submission = await proxmox.guests.setConfig(guest, { ...change, digest }, signal);
  if (submission.kind !== 'done') {
    assert.equal((await awaitSubmitted(context, submission)).kind, 'ok');
  }
}

async function stop(context: Context, guest: GuestRef): Promise<void> {
  const { proxmox, signal } = context;
  const end = await awaitSubmitted(context, await proxmox.guests.stop(guest, HARD_STOP, signal));
  assert.equal(end.kind, 'ok', told(end));
}

function awaitSubmitted(context: Context, submission: Submission): Promise<TaskEnd> {
  if (submission.kind !== 'task') throw new Error(`no task: ${told(submission)}`);
  return context.proxmox.guests.awaitTask(submission.upid, context.signal);
}

function refusedAs(submission: Submission, code: string): void {
  assert.equal(submission.kind, 'refused', told(submission));
  if (submission.kind === 'refused') assert.equal(submission.problem.code, code);
}
