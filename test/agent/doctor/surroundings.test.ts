/** What doctor says of things that are hard to bring about: judged from what it was shown of them. */
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Config, loadConfig } from '../../../src/agent/config/config.ts';
import {
  hubFindings,
  signerFindings,
  socketFindings,
} from '../../../src/agent/doctor/agent-checks.ts';
import { expiryFinding } from '../../../src/agent/doctor/certificate.ts';
import type { Finding } from '../../../src/agent/doctor/finding.ts';
import {
  foreignFinding,
  hostFindings,
  judgeSpace,
  looksFinding,
} from '../../../src/agent/doctor/host-checks.ts';
import { haFinding } from '../../../src/agent/doctor/node-checks.ts';
import { trustedFileFindings } from '../../../src/agent/doctor/trusted-files.ts';
import { describeSelf } from '../../../src/journal/owner.ts';
import type { ReconcilerError } from '../../../src/reconcile/errors.ts';
import type { NodeLook } from '../../../src/reconcile/guest.ts';
import { type Simulator, startSimulator } from '../../simulator/start.ts';
import { openOnDisk, realClock } from '../../support/journal-on-disk.ts';
import { opStory } from '../../support/journal-script.ts';
import { type Host, makeHost, runProgram } from '../program.ts';

const DAY_MS = 86_400_000;
const MIB = 1024 ** 2;
let pve: Simulator;
let host: Host;
let dir: string;
beforeAll(async () => {
  pve = await startSimulator({});
  host = makeHost(pve);
  dir = mkdtempSync(join(tmpdir(), 'pve-reconciler-doctor-'));
});
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  host.remove();
  await pve.stop();
});

function isComplete({ level, means, fix }: Finding): boolean {
  return level === 'ok' || (means !== null && means !== '' && fix !== null && fix !== '');
}

test.each([
  ['31 days before its end', 31, false, 'ok', /valid until/],
  ['29 days before its end', 29, false, 'warning', /in 29 days.*renew it/],
  ['a day before its end', 1, false, 'warning', /in 1 day\b/],
  ['29 days before its end, pinned', 29, true, 'warning', /fingerprint will not fit.*ca_file/],
  ['the day after its end', -1, false, 'error', /not now.*timedatectl/],
  ['before it begins: our clock is wrong', 100_000, false, 'error', /not now.*timedatectl/],
] as const)('a certificate %s', (_name, days, isPinned, level, text) => {
  const certificate = new X509Certificate(readFileSync(pve.caFile));
  const nowMs = certificate.validToDate.getTime() - days * DAY_MS - 1;
  const found = expiryFinding({ certificate, what: 'the CA', nowMs, isPinned });
  expect(found.level).toBe(level);
  expect(`${found.message} ${found.means} ${found.fix}`).toMatch(text);
  expect(isComplete(found)).toBe(true);
  const { fix } = expiryFinding({ certificate, what: 'the hub', nowMs, isPinned, check: 'hub' });
  expect(fix).toEqual(level === 'ok' ? null : expect.stringContaining('ask whoever runs the hub'));
  expect(fix ?? '').not.toMatch(/pvecm|pvenode|the CA/);
});

test.each<[string, NodeLook, Finding['level'], RegExp]>([
  ['no quorum', { quorate: false, ha: 'armed', managed: null }, 'error', /no quorum/],
  ['disarmed', { quorate: true, ha: 'disarmed', managed: null }, 'warning', /disarmed/],
  ['frozen', { quorate: true, ha: 'frozen', managed: null }, 'warning', /frozen/],
  ['not to be read', { quorate: null, ha: 'unknown', managed: null }, 'warning', /cannot be read/],
  ['not in use', { quorate: true, ha: 'absent', managed: new Map() }, 'ok', /no guest is managed/],
])('an HA manager that is %s', (_name, look, level, text) => {
  const found = haFinding(look);
  expect(found.level).toBe(level);
  expect(found.message).toMatch(text);
  expect(isComplete(found)).toBe(true);
});

test.each([
  ['less than two segments', 31, 'error'],
  ['less than the journal may still grow by', 500, 'warning'],
  ['enough', 1_000, 'ok'],
] as const)('a disk with %s left', (_name, freeMib, level) => {
  const journal = { segmentBytes: 16 * MIB, keepSegments: 64, keepForMs: 1 };
  const space = { freeBytes: freeMib * MIB, usedBytes: 100 * MIB };
  const found = judgeSpace({ stateDir: '/state', journal, ...space });
  expect(found).toMatchObject({ check: 'disk_space', level });
  expect(isComplete(found)).toBe(true);
});

describe('the state folder', () => {
  let state: string;
  let config: string;
  beforeAll(() => {
    state = join(dir, 'state');
    config = host.configure({ state_dir: state });
    mkdirSync(state, { mode: 0o700 });
  });

  async function look(check: Finding['check']): Promise<Finding | undefined> {
    const findings = await hostFindings(await loadConfig(config));
    return findings.find((each) => each.check === check);
  }

  test('a file of somebody else in it is found', async () => {
    writeFileSync(join(state, 'mine'), '');
    const uid = process.geteuid?.() ?? 0;
    expect(await foreignFinding(state, uid)).toBeNull();
    const found = await foreignFinding(state, uid + 1);
    expect(found).toMatchObject({ level: 'error', fix: `chown -R --reference=${state} ${state}` });
  });

  test.each([
    ['by a process that runs', {}, 'ok', /is held by process/],
    ['by one that is gone', { start_ticks: 1 }, 'ok', /the next takes over/],
    ['by one that halted on a failed write', { poisoned: true }, 'warning', /failed write/],
    ['from another host', { host: 'elsewhere' }, 'warning', /cannot be seen from here/],
  ] as const)('its journal is held %s', async (_name, change, level, text) => {
    const owner = join(state, 'journal.owner.json');
    writeFileSync(owner, JSON.stringify({ ...describeSelf(), ...change }));
    const found = await look('lock');
    rmSync(owner);
    expect(found).toMatchObject({ level, message: expect.stringMatching(text) });
  });

  test.runIf(process.geteuid?.() === 0)(
    'who may not look does not say that nobody is there',
    async () => {
      writeFileSync(join(state, 'journal.owner.json'), JSON.stringify(describeSelf()));
      chmodSync(dir, 0o755);
      const loaded = await loadConfig(config);
      process.seteuid?.(54_321);
      const findings = await hostFindings(loaded).finally(() => process.seteuid?.(0));
      const found = findings.find((each) => each.check === 'lock');
      rmSync(join(state, 'journal.owner.json'));
      expect(found).toMatchObject({
        level: 'error',
        message: expect.stringMatching(/no permission/),
      });
    },
  );

  test('a record from a time that is yet to come: our clock was set back', async () => {
    const clock = { ...realClock, now: () => Date.now() + 3_600_000 };
    const journal = await openOnDisk(state, { clock });
    for (const draft of opStory(1)) await journal.ledger.append(draft);
    await journal.close();
    const found = await look('clock');
    expect(found).toMatchObject({ level: 'error', means: expect.stringContaining('set back') });
  });
});

describe('the journal', () => {
  let state: string;
  let segments: readonly string[];
  const at = (name: string): string => join(state, 'journal', name);
  beforeEach(async () => {
    state = mkdtempSync(join(dir, 'journal-'));
    const journal = await openOnDisk(state, { segmentBytes: 1024 });
    for (let vmid = 1; vmid < 9; vmid += 1) {
      for (const draft of opStory(vmid)) await journal.ledger.append(draft);
    }
    await journal.close();
    segments = readdirSync(join(state, 'journal')).filter((name) => name.endsWith('.jsonl'));
    expect(segments.length).toBeGreaterThan(3);
  });

  async function look(): Promise<Finding | undefined> {
    const config = await loadConfig(host.configure({ state_dir: state }));
    return (await hostFindings(config)).find(({ check }) => check === 'journal');
  }
  function flip(name: string): void {
    const bytes = readFileSync(at(name));
    // Of a digit this makes no other digit: an older number is no damage.
    bytes[0] = (bytes[0] ?? 0) ^ 0x40;
    writeFileSync(at(name), bytes);
  }
  const remove = (index: number): void => rmSync(at(segments.at(index) ?? ''));

  test('that is sound where opening looks is in order, and says who reads the rest', async () => {
    const message = expect.stringMatching(/^the newest record is of .* is sound; `journal verify`/);
    expect(await look()).toMatchObject({ level: 'ok', message });
  });

  test.each<[string, () => void]>([
    ['whose file `newest` is damaged', () => flip('newest')],
    ['without its newest segment', () => remove(-1)],
    ['without the one before the newest', () => remove(-2)],
    ['whose newest segment is damaged', () => flip(segments.at(-1) ?? '')],
  ])('%s keeps the agent from starting, and doctor says so', async (_name, damage) => {
    damage();
    const refusal = await openOnDisk(state).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'journal_corrupt' });
    const { detail: message } = refusal as ReconcilerError;
    expect(await look()).toMatchObject({ level: 'error', message });
  });

  test('that lacks a segment of its history is read on, and doctor warns', async () => {
    remove(1);
    expect(await look()).toMatchObject({
      level: 'warning',
      message: `${segments[1]} is missing`,
      fix: expect.stringContaining('journal verify'),
    });
    await (await openOnDisk(state)).close();
  });
});

test('a control socket that is something else is an error', async () => {
  const socket = host.write('not-a-socket', '');
  const config = await loadConfig(host.configure({ control: { socket } }));
  const [found] = await socketFindings(config, { isNodeSeen: true });
  expect(found).toMatchObject({ check: 'control_socket', level: 'error' });
});

describe('a file whose word is taken', () => {
  const files = [
    ['config.yaml', 'configuration'],
    ['node-ca.pem', 'certificate'],
    ['hub-ca.pem', 'hub'],
  ] as const;
  let config: Config;
  const pathOf = (name: string): string =>
    name === 'config.yaml' ? config.file : join(host.dir, name);
  beforeEach(async () => {
    const ca = readFileSync(pve.caFile, 'utf8');
    for (const name of ['node-ca.pem', 'hub-ca.pem']) chmodSync(host.write(name, ca), 0o644);
    const hub = { url: pve.url, ca_file: 'hub-ca.pem' };
    const file = host.configure({ proxmox: { ca_file: 'node-ca.pem' }, hub });
    chmodSync(file, 0o644);
    config = await loadConfig(file);
  });

  test('is in order where root or the agent owns it and nobody else may write it', async () => {
    expect(await trustedFileFindings(config)).toEqual([]);
  });

  test.each(files)('%s: others may write it', async (name, check) => {
    const path = pathOf(name);
    for (const mode of [0o664, 0o646]) {
      chmodSync(path, mode);
      const [found, ...more] = await trustedFileFindings(config);
      expect(more).toEqual([]);
      expect(found).toMatchObject({ check, level: 'error', fix: `chmod go-w ${path}` });
      expect(found?.message).toBe(`${path} can be written by others (mode 0${mode.toString(8)})`);
    }
    const { out } = await runProgram('doctor', '--json', '--config', config.file);
    expect(JSON.parse(out)).toMatchObject({
      findings: expect.arrayContaining([expect.objectContaining({ check, level: 'error' })]),
    });
  });

  test.runIf(process.geteuid?.() === 0).each(files)(
    '%s: it belongs to another account',
    async (name, check) => {
      const path = pathOf(name);
      chownSync(path, 4242, 0);
      const [found] = await trustedFileFindings(config, 4241);
      expect(found).toMatchObject({ check, level: 'error', fix: `chown root ${path}` });
      expect(found?.message).toContain('uid 4242');
      expect(await trustedFileFindings(config, 4242)).toEqual([]);
      chownSync(path, 0, 0);
    },
  );
});

test('cheap looks: not in use, or meant to be and not to be believed', async () => {
  const mirror = join(dir, 'mirror');
  const config = await loadConfig(host.configure({ look: { mirror } }));
  expect(looksFinding(config)).toMatchObject({ level: 'ok' });
  mkdirSync(mirror);
  for (const name of ['.version', '.vmlist']) writeFileSync(join(mirror, name), '{}');
  utimesSync(join(mirror, '.version'), 1, 1);
  const found = looksFinding(config);
  expect(found).toMatchObject({ level: 'warning', message: expect.stringContaining('old') });
  expect(isComplete(found)).toBe(true);
});

test.each([
  ['that nobody answers for', () => ({ url: 'https://127.0.0.1:1', ca_file: 'system' }), 'error'],
  ['whose certificate is not the pinned one', () => pinned('AA'.repeat(32)), 'error'],
  ['that shows what is pinned', () => pinned(pve.fingerprint.replaceAll(':', '')), 'ok'],
] as const)('a hub %s', async (_name, hub, level) => {
  const [found] = await hubFindings(await loadConfig(host.configure({ hub: hub() })));
  expect(found).toMatchObject({ check: 'hub', level });
  expect(found !== undefined && isComplete(found)).toBe(true);
});

function pinned(digits: string): { url: string; fingerprint: string } {
  return { url: pve.url, fingerprint: digits.match(/../g)?.join(':') ?? '' };
}

test('a signer whose time is nearly over, one whose time is, and too few for what is irreversible', async () => {
  const { publicKey } = generateKeyPairSync('ed25519');
  const key = host.write('k.pub.pem', publicKey.export({ type: 'spki', format: 'pem' }), 0o644);
  const config = async (days: number | null): Promise<readonly Finding[]> => {
    const signer = {
      keyid: 'k',
      public_key_file: key,
      allow: { kinds: ['start'], vmids: '100' },
      ...(days === null ? {} : { not_after: new Date(Date.now() + days * DAY_MS).toISOString() }),
    };
    const policy = { irreversible_signatures: days === null ? 2 : 1 };
    return signerFindings(await loadConfig(host.configure({ signers: [signer], policy })));
  };
  expect(await config(10)).toMatchObject([
    { level: 'warning', message: expect.stringContaining('count until') },
  ]);
  expect(await config(-1)).toMatchObject([
    { level: 'warning', message: expect.stringContaining('not counted since') },
  ]);
  expect(await config(null)).toMatchObject([
    { level: 'warning', message: expect.stringContaining('takes 2') },
  ]);
});
