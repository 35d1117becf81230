import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Simulator, startSimulator } from '../../simulator/start.ts';
import { type Host, makeHost, programFile, runProgram } from '../program.ts';

/** Nobody's; only root can give a file away, and where that is not so there is nothing to give up. */
const ACCOUNT = process.geteuid?.() === 0 ? 54_321 : (process.geteuid?.() ?? 0);
let pve: Simulator;
let host: Host;
beforeAll(async () => {
  pve = await startSimulator({ guests: 3 });
  host = makeHost(pve);
  host.write('desired.yaml', 'version: 1\nguests: {}\n', 0o644);
  mkdirSync(join(host.dir, 'state'), { mode: 0o700 });
  const token = host.write('token', pve.token('root'), 0o600);
  for (const file of [host.dir, token, join(host.dir, 'state')]) chownSync(file, ACCOUNT, ACCOUNT);
});
afterAll(async () => {
  host.remove();
  await pve.stop();
});

test('a command that root runs acts as the owner of the state folder, and leaves nothing of its own there', async () => {
  const ca = host.write('ca.pem', readFileSync(pve.caFile, 'utf8'), 0o644);
  const proxmox = { token_file: join(host.dir, 'token'), ca_file: ca };
  const config = host.configure({ proxmox });
  expect((await runProgram('plan', '--config', config)).exit).toBe(0);
  expect((await runProgram('agent', '--once', '--config', config)).exit).toBe(0);
  for (const name of ['state/journal', 'state/journal.key']) {
    expect(statSync(join(host.dir, name)).uid).toBe(ACCOUNT);
  }
  const { out } = await runProgram('doctor', '--config', config);
  expect(out).toMatch(/^0 errors/m);
  const file = join(host.dir, 'adopted.yaml');
  expect((await runProgram('adopt', '100', '--to', file, '--config', config)).exit).toBe(0);
  expect(statSync(file).uid).toBe(process.geteuid?.());
});

test.runIf(process.geteuid?.() === 0)(
  "what is not that account's is a finding with its remedy, and an error that says as whom",
  async () => {
    const state = join(host.dir, 'restored');
    mkdirSync(join(state, 'journal'), { recursive: true, mode: 0o700 });
    chownSync(state, ACCOUNT, ACCOUNT);
    const ca = host.write('ca.pem', readFileSync(pve.caFile, 'utf8'), 0o644);
    const proxmox = { token_file: join(host.dir, 'token'), ca_file: ca };
    const config = host.configure({ proxmox, state_dir: state });
    const { exit, out } = await runProgram('doctor', '--json', '--config', config);
    const { findings } = JSON.parse(out) as { findings: { check: string; fix: string }[] };
    const fix = `chown -R --reference=${state} ${state}`;
    expect(findings).toContainEqual(expect.objectContaining({ check: 'state_dir', fix }));
    expect(findings).toContainEqual(expect.objectContaining({ check: 'journal', fix }));
    expect(exit).toBe(1);
    for (const command of [['status'], ['agent', '--once']]) {
      const { err } = await runProgram(...command, '--config', config);
      expect(err).toContain(`(acting as uid ${ACCOUNT}, the owner of ${state})`);
      expect(err).toContain(`hint: ${fix}`);
    }
  },
);

test.runIf(process.geteuid?.() === 0)(
  'a token file that it may not read is an error that says so',
  async () => {
    const token_file = host.write('root-token', pve.token('root'), 0o600);
    const config = host.configure({ proxmox: { token_file } });
    const { err, exit } = await runProgram('status', '--config', config);
    expect(err).toContain(`permission denied (acting as uid ${ACCOUNT}, the owner of`);
    expect(err).toMatch(/^error \[forbidden\] .*proxmox\.token_file: /m);
    const state = join(host.dir, 'state');
    expect(err).toContain(
      `hint: if uid ${ACCOUNT} is the agent's account, let it read ${token_file}`,
    );
    expect(err).toContain(`if it is not, \`chown -R pve-reconciler: ${state}\``);
    expect(exit).toBe(77);
  },
);

test('somebody without permission is told so, and not that there is nothing', async () => {
  const uid = process.geteuid?.() === 0 ? { uid: ACCOUNT + 1 } : {};
  const folder = join(host.dir, 'closed');
  mkdirSync(folder, { mode: 0o700 });
  const key = join(folder, 'agent-key.pem');
  writeFileSync(key, '');
  for (const open of [host.dir, dirname(programFile())]) chmodSync(open, 0o755);
  const config = host.configure({ state_dir: folder });
  chmodSync(config, 0o644);
  chmodSync(folder, 0);
  const ask = (...command: string[]): SpawnSyncReturns<string> =>
    spawnSync(process.execPath, [programFile(), ...command, '--config', config], {
      encoding: 'utf8',
      ...uid,
    });
  const asked = ask('keys', 'show');
  expect(asked.stderr).toBe(
    `error [forbidden] no permission for ${key}\n` +
      'hint: run it as root, or as the user whose files these are\n',
  );
  expect(asked.status).toBe(77);
  const repair = ask('journal', 'repair');
  expect(repair.stderr).toMatch(/^error \[forbidden\] .*\nhint: /);
  expect(repair.status).toBe(77);
});
