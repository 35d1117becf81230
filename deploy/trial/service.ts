/** What systemd does with an agent that hangs, dies, is misconfigured or has no disk left. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Simulator } from '../../test/simulator/start.ts';
import type { BootedRoot } from './booted-root.ts';
import { editDocument, say, UNIT } from './first-hour.ts';

const STATE = '/var/lib/pve-reconciler';
const CONFIG = '/etc/pve-reconciler/config.yaml';
const ASIDE = '/root/state';
/** What is left of the journal's last block takes less. */
const MORE_THAN_A_BLOCK = 6_000;

function isUpAs(root: BootedRoot, otherThan: string): boolean {
  const pid = root.property(UNIT, 'MainPID');
  return root.property(UNIT, 'ActiveState') === 'active' && pid !== '0' && pid !== otherThan;
}

/** By systemd: a small root has no kill(1). */
function signal(root: BootedRoot, name: 'STOP' | 'KILL'): void {
  root.run('systemctl', 'kill', '--kill-whom=main', `--signal=SIG${name}`, UNIT);
}

export async function tryWatchdog(root: BootedRoot): Promise<void> {
  const dropIn = `/etc/systemd/system/${UNIT}.d`;
  mkdirSync(root.at(dropIn), { recursive: true });
  writeFileSync(root.at(`${dropIn}/trial.conf`), '[Service]\nWatchdogSec=6s\nRestartSec=1s\n');
  root.run('systemctl', 'daemon-reload');
  root.run('systemctl', 'restart', UNIT);
  const stuck = root.property(UNIT, 'MainPID');
  signal(root, 'STOP');
  await root.until('the watchdog begins it again', () => isUpAs(root, stuck), 60_000);
  assert.match(root.run('journalctl', '-b', '-u', UNIT, '-o', 'cat'), /Watchdog timeout/);
  const pid = root.property(UNIT, 'MainPID');
  signal(root, 'KILL');
  await root.until('it is begun again after a kill', () => isUpAs(root, pid));
  root.run('pve-reconciler', 'journal', 'verify');
  say('stopped by SIGSTOP, then killed: begun again each time, its journal whole');
}

export async function tryMisconfiguration(root: BootedRoot): Promise<void> {
  const text = readFileSync(root.at(CONFIG), 'utf8');
  writeFileSync(root.at(CONFIG), `${text}hob: 1\n`);
  assert.notEqual(root.ended('systemctl', 'restart', UNIT).exit, 0);
  await root.until('it has failed', () => root.property(UNIT, 'ActiveState') === 'failed');
  assert.equal(root.property(UNIT, 'ExecMainStatus'), '78');
  writeFileSync(root.at(CONFIG), text);
  root.run('systemctl', 'start', UNIT);
  say('a mistake in the configuration: 78, and not tried again until it is started');
}

/** Puts the state folder on a small disk of its own, and back again. */
function moveState(root: BootedRoot, to: 'small disk' | 'back'): void {
  root.run('systemctl', 'stop', UNIT);
  const lines =
    to === 'back'
      ? [
          `cp -a ${STATE}/. ${ASIDE}`,
          `umount ${STATE}`,
          `cp -a ${ASIDE}/. ${STATE}`,
          `rm -r ${ASIDE}`,
        ]
      : [
          `cp -a ${STATE} ${ASIDE}`,
          `mount -t tmpfs -o size=40m tmpfs ${STATE}`,
          `cp -a ${ASIDE}/. ${STATE}`,
        ];
  root.run('sh', '-ec', lines.join('\n'));
  root.run('systemctl', 'start', UNIT);
}

/** Somebody else fills the disk while the agent runs; then there is more to write than fits. */
export async function tryFullDisk(root: BootedRoot, pve: Simulator, vmid: number): Promise<void> {
  moveState(root, 'small disk');
  await pve.resetRequests();
  const changes = async (): Promise<readonly string[]> =>
    (await pve.requests()).filter(({ method }) => method !== 'GET').map(({ path }) => path);
  root.ended('sh', '-c', `cat /dev/zero > ${STATE}/filler`);
  const doctor = root.ended('pve-reconciler', 'doctor');
  assert.equal(doctor.exit, 1);
  assert.match(doctor.said, /error +disk_space/);
  assert.match(doctor.said, /error +sync_speed .*no space left/i);
  const description = 'x'.repeat(MORE_THAN_A_BLOCK);
  editDocument(root, (document) => {
    document.setIn(['guests', vmid, 'config', 'description'], description);
  });
  const halted = (): boolean => root.property(UNIT, 'ExecMainStatus') === '70';
  await root.until('the agent halts', halted);
  assert.match(root.run('journalctl', '-b', '-u', UNIT, '-o', 'cat'), /journal_poisoned/);
  assert.deepEqual(await changes(), [], 'nothing is asked of PVE that is not on disk');
  root.run('rm', `${STATE}/filler`);
  await root.until('the change is made', async () => {
    const guest = await pve.control('GET', `/guests/${vmid}`);
    return JSON.stringify(guest).includes(description);
  });
  assert.equal((await changes()).length, 1, 'it is asked for once');
  root.run('pve-reconciler', 'journal', 'verify');
  moveState(root, 'back');
  say(
    'a full disk: it halts with 70, asks nothing that is not on disk, goes on when there is room',
  );
}

async function isReady(): Promise<boolean> {
  return (await fetch('http://127.0.0.1:8787/readyz')).ok;
}

export async function tryRevokedToken(root: BootedRoot, pve: Simulator): Promise<void> {
  const reason = 'no such token';
  await pve.addFault({ kind: 'error', path: '.', status: 401, reason, count: 0 });
  await root.until('the agent is not ready', async () => !(await isReady()));
  const doctor = root.ended('pve-reconciler', 'doctor');
  assert.equal(doctor.exit, 1);
  assert.match(doctor.said, /error +token /);
  assert.match(doctor.said, /fix: .*pve-reconciler setup/);
  assert.equal(root.property(UNIT, 'ActiveState'), 'active');
  await pve.control('DELETE', '/faults');
  // A refused token is asked with again after half a minute, and then after up to twice that.
  await root.until('the agent is ready', isReady, 120_000);
  say('a revoked token: it goes on asking, says why it is not ready, and doctor says what to do');
}
