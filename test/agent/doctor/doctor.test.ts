import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { examine } from '../../../src/agent/doctor/examine.ts';
import type { Finding } from '../../../src/agent/doctor/finding.ts';
import { CONFIG_PRIVILEGES } from '../../../src/proxmox/values/key-privileges.ts';
import { type Simulator, startSimulator } from '../../simulator/start.ts';
import { type Daemon, type Host, makeHost, startDaemon } from '../program.ts';
import { runHere } from '../run-here.ts';

const GUESTS = ['VM.Audit', 'VM.PowerMgmt', ...CONFIG_PRIVILEGES];
type Acl = Record<string, string[]>;
/** What `setup` grants. */
const FULL: Acl = {
  '/vms': GUESTS,
  '/nodes/pve1': ['Sys.Audit'],
  '/sdn/zones': ['SDN.Use'],
  '/': ['Sys.Audit', 'Sys.Modify'],
};

function without(path: string, privilege: string): Acl {
  const held = (FULL[path] ?? []).filter((each) => each !== privilege);
  // An entry that grants nothing of use: what `/` passes on does not count here.
  return { ...FULL, [path]: [...held, 'Sys.Syslog'] };
}

/** One privilege taken away, and the command that must be there to give it back. */
const LACKING: readonly (readonly [path: string, privilege: string, level: string])[] = [
  ...GUESTS.map((privilege) => ['/vms', privilege, 'error'] as const),
  ['/sdn/zones', 'SDN.Use', 'error'],
  ['/', 'Sys.Modify', 'error'],
  ['/', 'Sys.Audit', 'warning'],
  ['/nodes/pve1', 'Sys.Audit', 'warning'],
];

const acls: Record<string, Acl> = {
  full: FULL,
  as_set_up: { ...FULL, '/': ['Sys.Audit'] },
  one_hidden: { ...FULL, '/vms/101': [] },
  one_apart: { ...FULL, '/vms/100': ['VM.Audit'] },
  nothing_on_root: { '/vms': GUESTS, '/nodes/pve1': ['Sys.Audit'], '/sdn/zones': ['SDN.Use'] },
};
for (const [path, privilege] of LACKING) acls[nameOf(path, privilege)] = without(path, privilege);

/** It works whether the role is there or not. */
const GRANT =
  /^\(pveum role add (\S+) --privs '([^']+)' \|\| pveum role modify \1 --append 1 --privs '\2'\) && pveum acl modify (\S+) --users '[^']+' --tokens '[^']+' --roles \1(?: --propagate 0)?$/;

function nameOf(path: string, privilege: string): string {
  return `lacks${path.replaceAll('/', '-')}-${privilege}`;
}
let pve: Simulator;
let host: Host;
beforeAll(async () => {
  const tokens = Object.entries(acls).map(([name, acl], i) => {
    return [name, { id: `pve-reconciler@pve!t${i}`, acl }] as const;
  });
  pve = await startSimulator({
    guests: 3,
    world: { tokens: Object.fromEntries(tokens), auth_delay_ms: 0 },
  });
  host = makeHost(pve);
  host.write('desired.yaml', {
    version: 1,
    guests: {
      100: {
        kind: 'qemu',
        power: 'running',
        config: { cores: 1, startup: 'order=1', net0: 'virtio,bridge=vmbr1' },
      },
    },
  });
  mkdirSync(join(host.dir, 'state'), { mode: 0o700 });
});
afterAll(async () => {
  host.remove();
  await pve.stop();
});

/** In this process: a process for each would take longer than all the rest. */
async function look(changes: Readonly<Record<string, unknown>>): Promise<readonly Finding[]> {
  return examine(host.configure(changes), new AbortController().signal);
}

function isHealthy(findings: readonly Finding[]): boolean {
  return findings.every(({ level }) => level !== 'error');
}

function withToken(name: string): { proxmox: { token_file: string } } {
  return { proxmox: { token_file: pve.tokenFile(name) } };
}

test('a host with all it needs has no errors and no warnings but about signers', async () => {
  const ended = await runHere('doctor', '--json', '--config', host.configure(withToken('full')));
  expect(ended).toMatchObject({ exit: 0, err: '' });
  const { healthy, findings } = JSON.parse(ended.out) as {
    readonly healthy: boolean;
    readonly findings: readonly Finding[];
  };
  expect(healthy).toBe(true);
  const [desired] = findings.filter(({ check }) => check === 'desired');
  expect(desired?.message).toBe('1 guest is desired');
  const troubles = findings.filter(({ level }) => level !== 'ok');
  expect(troubles.filter(({ check }) => check !== 'signers')).toEqual([]);
  const looked = new Set(findings.map(({ check }) => check));
  for (const check of ['certificate', 'version', 'privileges', 'clock', 'ha', 'sync_speed']) {
    expect(looked).toContain(check);
  }
});

describe('a token that lacks one privilege is told which, and the line that mends it', () => {
  test.each(LACKING)('%s %s: %s', async (path, privilege, level) => {
    const findings = await look(withToken(nameOf(path, privilege)));
    const found = findings.find(
      (each) =>
        each.check === 'privileges' && each.message.includes(`lacks ${privilege} on ${path}`),
    );
    expect(found).toMatchObject({ level });
    const [, role, privileges, granted] = GRANT.exec(found?.fix ?? '') ?? [];
    expect(role).toMatch(/^Reconciler[A-Z]/);
    expect(privileges?.split(' ')).toContain(privilege);
    expect(granted).toBe(path);
    expect(isHealthy(findings)).toBe(level !== 'error');
  });

  test('a token with nothing is told of privilege separation, and of user and token', async () => {
    const findings = await look(withToken('nobody'));
    const found = findings.find(({ check, level }) => check === 'privileges' && level === 'error');
    expect(found?.means).toContain('privilege separation');
    expect(found?.fix).toContain("--users 'nobody@pve' --tokens 'nobody@pve!nobody'");
  });

  test('a power-only policy asks for no privilege to change configs', async () => {
    const config = { ...withToken(nameOf('/vms', 'VM.Config.CPU')), desired: [] };
    const policy = { unsigned: 'none', operator: 'disruptive', irreversible_signatures: 1 };
    const findings = await look({ ...config, policy });
    expect(findings.filter(({ level }) => level === 'error')).toEqual([]);
  });

  test('a token of root is too much', async () => {
    const findings = await look(withToken('root'));
    const found = findings.find(({ check }) => check === 'token_scope');
    expect(found).toMatchObject({ level: 'warning' });
    expect(found?.message).toContain('Permissions.Modify');
  });
});

describe('of what documents take beyond the policy, doctor finds wrong what would be written now', () => {
  const startup = { startup: 'order=1' };
  const cases: readonly (readonly [string, object, object, string[], string[]])[] = [
    ['a VM', { 100: { config: startup } }, {}, ['Sys.Modify on /'], []],
    ['a container, whose order takes nothing', { 200: { config: startup } }, {}, [], []],
    ['an ignored key', { 100: { config: startup, ignore: ['startup'] } }, {}, [], []],
    ['a guest that is observed', { 100: { mode: 'observe', config: startup } }, {}, [], []],
    ['an agent that observes', { 100: { config: startup } }, { mode: 'observe' }, [], []],
    ['another guest than is meant', { 100: { kind: 'lxc', config: startup } }, {}, [], []],
    ['a guest that is not there', { 150: { config: startup } }, {}, [], []],
    ['what is so already', { 100: { config: { startup: null } } }, {}, [], ['Sys.Modify on /']],
    [
      'mapped devices',
      { 100: { config: { usb0: 'mapping=stick', hostpci0: 'mapping=gpu', virtiofs0: 'share' } } },
      {},
      ['/mapping/usb/stick', '/mapping/pci/gpu', '/mapping/dir/share'].map(
        (at) => `Mapping.Use on ${at}`,
      ),
      [],
    ],
    [
      'an image',
      { 100: { config: { ide2: 'local:iso/x.iso,media=cdrom' } } },
      {},
      ['Datastore.Audit on /storage/local'],
      [],
    ],
  ];
  test.each(cases)('%s', async (_name, guests, reconcile, errors, notes) => {
    const desired = [{ file: host.write('documents.yaml', { version: 1, guests }) }];
    const findings = await look({ ...withToken('as_set_up'), desired, reconcile });
    const found = findings.filter(({ check }) => check === 'privileges');
    const wrong = found.filter(({ level }) => level !== 'ok');
    expect(wrong.map(({ level, message }) => `${level} ${message}`)).toEqual(
      errors.map((text) => expect.stringMatching(new RegExp(`^error .* lacks ${text}$`))),
    );
    for (const { fix } of wrong) expect(fix).toMatch(GRANT);
    for (const { fix } of wrong) expect(fix).not.toContain('ReconcilerStorage');
    const noted = found.filter(({ message }) => message.includes('a change of it would take'));
    expect(noted.map(({ message }) => message)).toEqual(
      notes.map((text) => expect.stringContaining(text)),
    );
  });

  test('a guest that is hidden from the token is said to be, and not that it is gone', async () => {
    const guests = { 101: { power: 'running' } };
    const desired = [{ file: host.write('hidden.yaml', { version: 1, guests }) }];
    const findings = await look({ ...withToken('one_hidden'), desired });
    expect(findings.filter(({ level }) => level === 'error')).toMatchObject([
      { check: 'privileges', message: expect.stringMatching(/ lacks VM\.Audit on \/vms\/101$/) },
    ]);
    expect(findings.filter(({ message }) => message.includes('not on this node'))).toEqual([]);
  });

  test('a guest with an entry of its own gets a role of its own, with all that guests take', async () => {
    const findings = await look(withToken('one_apart'));
    const [found, ...more] = findings.filter(
      ({ check, level }) => check === 'privileges' && level !== 'ok',
    );
    expect(more).toEqual([]);
    const [, role, privileges, path] = GRANT.exec(found?.fix ?? '') ?? [];
    expect([role, privileges?.split(' '), path]).toEqual([
      'ReconcilerGuests100',
      GUESTS,
      '/vms/100',
    ]);
  });

  test('what is lacking on one path is one finding, with one line', async () => {
    const findings = await look(withToken('nothing_on_root'));
    const onRoot = findings.filter(
      ({ message }) => message.includes(' on /,') || message.endsWith(' on /'),
    );
    expect(onRoot).toMatchObject([
      { level: 'error', message: expect.stringContaining('Sys.Audit, Sys.Modify on /') },
    ]);
  });
});

describe('where signatures enough may write configs, a storage is needed for what they allocate', () => {
  const signer = (keyid: string, ...kinds: string[]): object => {
    host.write(
      `${keyid}.pem`,
      generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }),
    );
    return { keyid, public_key_file: `${keyid}.pem`, allow: { kinds, vmids: '100-199' } };
  };
  const found = async (signers: readonly object[]): Promise<readonly Finding[]> =>
    (await look({ ...withToken('full'), signers })).filter(({ message }) =>
      message.includes('Datastore.'),
    );

  test('and where too few may, none is', async () => {
    expect(await found([signer('a', 'set_config'), signer('b', 'start')])).toEqual([]);
    const [warned] = await found([signer('a', 'set_config'), signer('b', 'set_config')]);
    expect(warned).toMatchObject({ check: 'privileges', level: 'warning' });
    const [, line = ''] = /: (\(pveum .*)$/.exec(warned?.fix ?? '') ?? [];
    expect(GRANT.exec(line)?.slice(1, 4)).toEqual([
      'ReconcilerStorage',
      'Datastore.AllocateSpace',
      '/storage/STORAGE',
    ]);
  });
});

describe('an agent that does not get through, where doctor does', () => {
  const agent = { state_dir: 'agent', control: { socket: 'running.sock' }, desired: [] };
  let daemon: Daemon | null = null;
  afterEach(async () => {
    await daemon?.end('SIGKILL');
    daemon = null;
  });

  test('runs with older settings, and is to be started again', async () => {
    const fingerprint = Array.from({ length: 32 }, () => 'AA').join(':');
    const old = { ca_file: undefined, fingerprint };
    daemon = startDaemon(host.configure({ ...agent, proxmox: old }));
    await daemon.saw(/not the pinned/);
    const found = async (proxmox: object): Promise<Finding | undefined> =>
      (await look({ ...agent, proxmox })).find(({ check }) => check === 'control_socket');
    expect(await found({})).toMatchObject({
      level: 'error',
      message: expect.stringContaining('[tls_untrusted]'),
      means: expect.stringContaining('older settings'),
      fix: '`systemctl restart pve-reconciler`',
    });
    // Neither of the two gets through: that is said where doctor fails itself.
    expect(await found(old)).toMatchObject({ level: 'warning' });
  });
});

describe('what is broken is found, said with its meaning and its fix', () => {
  const cases: readonly (readonly [string, () => Record<string, unknown>, string, RegExp])[] = [
    [
      'nobody listens',
      () => ({ proxmox: { url: 'https://127.0.0.1:1' } }),
      'connection',
      /ECONNREFUSED/,
    ],
    [
      'another CA',
      () => ({ proxmox: { ca_file: 'system' } }),
      'certificate',
      /unable to|self-signed|certificate/,
    ],
    [
      'a pin that does not fit',
      () => {
        const fingerprint = Array.from({ length: 32 }, () => 'AA').join(':');
        return { proxmox: { ca_file: undefined, fingerprint } };
      },
      'certificate',
      /not the pinned/,
    ],
    [
      'a revoked token',
      () => {
        const file = host.write('revoked', 'agent@pve!gone=5b1f0c5e-3a7d-4c52-9e1b-000000000000\n');
        return { proxmox: { token_file: file } };
      },
      'token',
      /401|no such token|fail/i,
    ],
    [
      'a token others can read',
      () => ({ proxmox: { token_file: host.write('open', 'a@pve!b=c\n', 0o644) } }),
      'token',
      /read by others/,
    ],
    ['another node name', () => ({ node: 'elsewhere' }), 'connection', /elsewhere/],
    [
      'a state folder others can read',
      () => {
        mkdirSync(join(host.dir, 'wide'));
        chmodSync(join(host.dir, 'wide'), 0o755);
        return { state_dir: 'wide' };
      },
      'state_dir',
      /mode 0755/,
    ],
    [
      'a state folder that is a file',
      () => ({ state_dir: host.write('flat', '') }),
      'state_dir',
      /is not a folder/,
    ],
    [
      'a journal that is no journal',
      () => {
        mkdirSync(join(host.dir, 'bad/journal'), { recursive: true, mode: 0o700 });
        chmodSync(join(host.dir, 'bad'), 0o700);
        writeFileSync(join(host.dir, 'bad/journal/00000001.jsonl'), 'x\nx\n', { mode: 0o600 });
        return { state_dir: 'bad' };
      },
      'journal',
      /00000001|segment/,
    ],
    [
      'a document that is refused',
      () => ({ desired: [{ file: host.write('bad.yaml', 'version: 2\nguests: {}\n') }] }),
      'desired',
      /bad\.yaml:1/,
    ],
    [
      'a signer without its key',
      () => {
        const allow = { kinds: ['start'], vmids: '100' };
        return { signers: [{ keyid: 'hub-1', public_key_file: 'none.pem', allow }] };
      },
      'signers',
      /none\.pem/,
    ],
    ['a configuration with an unknown key', () => ({ hob: 1 }), 'configuration', /hob/],
  ];
  test.each(cases)('%s', async (_name, make, check, pattern) => {
    const findings = await look({ ...withToken('full'), ...make() });
    const found = findings.find((each) => each.check === check && each.level === 'error');
    expect(found?.message).toMatch(pattern);
    expect(found?.means).not.toBe('');
    expect(found?.fix).not.toBe('');
    expect(isHealthy(findings)).toBe(false);
  });

  test('clocks that differ by more than a minute are an error, by seconds a warning', async () => {
    for (const [offset, level] of [
      [3600, 'error'],
      [-20, 'warning'],
      [0, 'ok'],
    ] as const) {
      await pve.control('POST', '/clock', { offset_s: offset });
      const findings = await look(withToken('full'));
      expect(findings.find(({ check }) => check === 'clock')).toMatchObject({ level });
    }
  });
});

test('for people: a line for each finding, its meaning and its fix below, then the count', async () => {
  const config = host.configure(withToken(nameOf('/vms', 'VM.PowerMgmt')));
  const { out, exit } = await runHere('doctor', '--config', config);
  expect(out).toMatch(/^error {4}privileges {6}pve-reconciler@pve!t\d+ lacks VM\.PowerMgmt on /m);
  expect(out).toMatch(/^ +fix: \(pveum role add ReconcilerGuests --privs /m);
  expect(out).toMatch(/^1 error, \d+ warnings?, \d+ ok$/m);
  expect(exit).toBe(1);
});

test('nothing is written: neither in PVE nor in the state folder', async () => {
  await pve.control('DELETE', '/requests');
  await look(withToken('full'));
  const requests = await pve.requests();
  expect(requests.filter(({ method }) => method !== 'GET')).toEqual([]);
  expect(requests.length).toBeLessThan(10);
});
