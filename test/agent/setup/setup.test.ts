import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { CONFIG_PRIVILEGES } from '../../../src/proxmox/values/key-privileges.ts';
import { type Simulator, startSimulator } from '../../simulator/start.ts';
import { type Ended, runProgram } from '../program.ts';
import { runHere } from '../run-here.ts';
import { FakePveTools } from './fake-pve-tools.ts';

const SECRET = '5b1f0c5e-3a7d-4c52-9e1b-0123456789ab';
const TOKEN = 'pve-reconciler@pve!agent-pve1';
const GUESTS = ['VM.Audit', 'VM.PowerMgmt', ...CONFIG_PRIVILEGES];
let pve: Simulator;
let dir: string;
let tools: FakePveTools;
beforeAll(async () => {
  const acl = {
    '/vms': GUESTS,
    '/nodes/pve1': ['Sys.Audit'],
    '/sdn/zones': ['SDN.Use'],
    '/': ['Sys.Audit'],
  };
  const tokens = { setup: { id: TOKEN, secret: SECRET, acl } };
  pve = await startSimulator({ guests: 6, world: { tokens } });
});
afterAll(() => pve.stop());

/** A host with fake tools and nothing set up yet. */
async function freshHost(): Promise<void> {
  dir = mkdtempSync(join(tmpdir(), 'pve-reconciler-setup-'));
  tools = await FakePveTools.install(join(dir, 'bin'), SECRET);
  vi.stubEnv('PATH', `${join(dir, 'bin')}${delimiter}${process.env['PATH']}`);
}

async function leaveHost(): Promise<void> {
  vi.unstubAllEnvs();
  await tools.stop();
  rmSync(dir, { recursive: true, force: true });
}

const at = (name: string): string => join(dir, 'etc', name);

function setup(...args: string[]): Promise<Ended> {
  const where = ['--node', 'pve1', '--url', pve.url, '--ca', pve.caFile];
  return runHere('setup', '--config', at('config.yaml'), ...where, ...args);
}

/** Calls that change something, argument by argument, and forgets them. */
function changes(): string[][] {
  const isRead = (call: string[]): boolean => call.includes('list') || call[0] === 'pvesh';
  return tools.calls.splice(0).filter((call) => !isRead(call));
}

/** One host lives through them all, in this order. */
describe('from a fresh host to one that never had an agent', () => {
  let first: Ended;
  beforeAll(async () => {
    await freshHost();
    mkdirSync(join(dir, 'etc'));
    // Nobody's secret.
    writeFileSync(at('token'), '\n');
    first = await setup();
  });
  afterAll(leaveHost);

  test('roles hold exactly what the policy needs, for user and token, on the path it is for', () => {
    expect(first).toMatchObject({ exit: 0, err: '' });
    expect(first.out).not.toContain(SECRET);
    const { roles, users, tokens, acls } = tools.state;
    expect(roles).toEqual({
      PVEAuditor: 'VM.Audit',
      ReconcilerGuests: [...GUESTS].sort().join(','),
      ReconcilerNetwork: 'SDN.Use',
      ReconcilerNode: 'Sys.Audit',
      ReconcilerCluster: 'Sys.Audit',
    });
    expect(users).toEqual(['root@pam', 'pve-reconciler@pve']);
    expect(tokens).toEqual([TOKEN]);
    const seen = acls.filter(({ ugid }) => ugid === TOKEN);
    expect(Object.fromEntries(seen.map(({ path, propagate }) => [path, propagate]))).toEqual({
      '/': 0,
      '/nodes/pve1': 0,
      '/sdn/zones': 1,
      '/vms': 1,
    });
    expect(acls).toHaveLength(2 * seen.length);
  });

  test('token 0600, a valid configuration, guests in mode observe: doctor finds no error', async () => {
    expect(readFileSync(at('token'), 'utf8')).toBe(`${TOKEN}=${SECRET}\n`);
    expect(statSync(at('token')).mode & 0o777).toBe(0o600);
    const document = readFileSync(at('desired.d/guests.yaml'), 'utf8');
    expect(document.match(/mode: observe/g)).toHaveLength(6);
    const config = readFileSync(at('config.yaml'), 'utf8');
    mkdirSync(join(dir, 'state'), { mode: 0o700 });
    writeFileSync(at('there.yaml'), `${config}state_dir: ${join(dir, 'state')}\n`);
    const doctor = await runProgram('doctor', '--config', at('there.yaml'));
    expect(doctor.out).toMatch(/^0 errors/m);
    expect((await runProgram('plan', '--config', at('there.yaml'))).exit).toBe(0);
    rmSync(at('there.yaml'));
  });

  test('a second run changes nothing', async () => {
    changes();
    const before = readFileSync(at('config.yaml'), 'utf8');
    expect(await setup()).toMatchObject({ exit: 0, err: '' });
    expect(changes()).toEqual([]);
    expect(readFileSync(at('config.yaml'), 'utf8')).toBe(before);
  });

  test('after a run that was cut off before the secret was written there is a new token; a policy that allows less takes privileges away', async () => {
    rmSync(at('token'));
    const text = readFileSync(at('config.yaml'), 'utf8');
    writeFileSync(at('config.yaml'), text.replace('unsigned: benign', 'unsigned: none'));
    expect((await setup()).exit).toBe(0);
    const verbs = changes().map(([tool, noun, verb, third]) => [tool, noun, verb, third].join(' '));
    expect(verbs.slice(0, 3)).toEqual([
      'pveum role modify ReconcilerGuests',
      'pveum user token remove',
      'pveum user token add',
    ]);
    expect(readFileSync(at('token'), 'utf8')).toContain(SECRET);
    expect(tools.state.roles['ReconcilerGuests']).toBe('VM.Audit,VM.PowerMgmt');
    expect(tools.state.roles).not.toHaveProperty('ReconcilerNetwork');
    expect(tools.state.acls.map(({ path }) => path)).not.toContain('/sdn/zones');
  });

  test('--remove takes it all away, but for what was edited', async () => {
    const { exit, out } = await setup('--remove');
    expect(exit).toBe(0);
    expect(out).toContain('config.yaml was edited since: it stays');
    const { roles, users, tokens } = tools.state;
    expect(users).toEqual(['root@pam']);
    expect(tokens).toEqual([]);
    expect(Object.keys(roles)).toEqual(['PVEAuditor']);
    expect(new Set(readdirSync(join(dir, 'etc'), { recursive: true, encoding: 'utf8' }))).toEqual(
      new Set(['config.yaml', 'desired.d']),
    );
  });

  test('what was edited and stayed is enough for setup to make the rest again', async () => {
    expect(await setup()).toMatchObject({ exit: 0, err: '' });
    expect(new Set(readdirSync(join(dir, 'etc'), { recursive: true, encoding: 'utf8' }))).toEqual(
      new Set([
        '.setup.json',
        'config.yaml',
        'desired.d',
        'desired.d/guests.yaml',
        'pve-root-ca.pem',
        'token',
      ]),
    );
  });
});

describe('what cannot be is refused and said', () => {
  beforeEach(freshHost);
  afterEach(leaveHost);

  test('--print runs nothing, needs nothing and shows commands that can be pasted', async () => {
    rmSync(join(dir, 'bin'), { recursive: true });
    const { exit, out } = await setup('--print');
    expect(exit).toBe(0);
    expect(out).toMatch(/^# this is no Proxmox VE host /);
    expect(out).toContain('pveum role add ReconcilerNode --privs Sys.Audit\n');
    expect(out).toContain('pveum user token add pve-reconciler@pve agent-pve1 --privsep 1\n');
    expect(out).toMatch(/^pveum acl modify \/ --users .* --propagate 0$/m);
    expect(existsSync(join(dir, 'etc'))).toBe(false);
  });

  test('a configuration that is there says for which node and into which file', async () => {
    const token = join(dir, 'elsewhere', 'token');
    mkdirSync(join(dir, 'etc'));
    const text = `node: pve2\nproxmox: { token_file: ${token} }\n`;
    writeFileSync(at('config.yaml'), text);
    const printed = await runProgram('setup', '--print', '--config', at('config.yaml'));
    expect(printed.out).toContain('pveum user token add pve-reconciler@pve agent-pve2 ');
    expect(printed.out).not.toContain('no Proxmox VE host');
    expect(printed.out).toContain(`# its secret into ${token}, mode 0600\n`);
    expect(printed.exit).toBe(0);
    mkdirSync(join(dir, 'elsewhere'));
    writeFileSync(token, 'somebody@pve!else=x', { mode: 0o600 });
    const run = await runProgram('setup', '--config', at('config.yaml'));
    expect(run.err).toMatch(
      /^error \[conflict\] .*elsewhere\/token is there, and does not hold pve-rec/,
    );
    const removed = await runProgram('setup', '--remove', '--config', at('config.yaml'));
    expect(removed.exit).toBe(0);
    expect(readFileSync(token, 'utf8')).toBe('somebody@pve!else=x');
    expect(changes()).toEqual([]);
  });

  test('guests are adopted only where the configuration that is there reads documents', async () => {
    mkdirSync(join(dir, 'etc'));
    const text = `proxmox: { token_file: token }\ndesired: [{ file: docs }]\n`;
    writeFileSync(at('config.yaml'), text);
    const { exit, out, err } = await setup();
    expect(out).toContain(
      `config.yaml does not name ${at('desired.d')}\n# \`pve-reconciler adopt `,
    );
    expect({ exit, err }).toEqual({ exit: 0, err: '' });
    expect(readdirSync(join(dir, 'etc')).sort()).toEqual(['config.yaml', 'token']);
  });

  test.each([
    ['made by hand', 'ops@pve!byhand=11111111-2222-3333-4444-555555555555\n'],
    ['of another node', `pve-reconciler@pve!agent-pve10=${SECRET}\n`],
  ])('a token %s, where setup would put its own', async (_whose, token) => {
    mkdirSync(join(dir, 'etc'));
    writeFileSync(at('token'), token, { mode: 0o600 });
    const run = await setup();
    expect(run.err).toMatch(/^error \[conflict\] .*etc\/token is there, .*\nhint: move it away /);
    expect(run.exit).toBe(1);
    const removed = await setup('--remove');
    expect(removed.out).toContain(
      'etc/token is not seen to hold pve-reconciler@pve!agent-pve1: it',
    );
    expect(removed.exit).toBe(0);
    expect(readFileSync(at('token'), 'utf8')).toBe(token);
    expect(readdirSync(join(dir, 'etc'))).toEqual(['token']);
    expect(changes()).toEqual([]);
  });

  test('a host that is not PVE', async () => {
    rmSync(join(dir, 'bin'), { recursive: true });
    const { exit, err } = await setup();
    expect(err).toContain('there is no pvesh here');
    expect(exit).toBe(69);
  });

  test('Proxmox VE 7', async () => {
    tools.version = '7.4-3';
    const { exit, err } = await setup();
    expect(err).toContain('Proxmox VE 7.4-3 is too old');
    expect(exit).toBe(78);
  });

  test('a node that the cluster does not know', async () => {
    const { exit, err } = await setup('--node', 'pve3');
    expect(err).toContain('PVE knows no node pve3, only pve1, pve2');
    expect(exit).toBe(78);
    expect(changes()).toEqual([]);
  });

  test('a certificate that the cluster did not sign is pinned, and the guests are read by it', async () => {
    const { exit, out } = await setup('--ca', join(dir, 'none.pem'));
    expect(exit).toBe(0);
    expect(out).toContain('it is pinned\n');
    expect(readFileSync(at('config.yaml'), 'utf8')).toContain(pve.fingerprint);
    expect(existsSync(at('desired.d/guests.yaml'))).toBe(true);
  });

  test('a CA that the configuration needs a copy of and that cannot be read', async () => {
    expect((await setup()).exit).toBe(0);
    const refused = /^error \[config_invalid\] .*none\.pem cannot be read.*\nhint: .*`--ca FILE`/;
    for (const gone of ['pve-root-ca.pem', 'config.yaml']) {
      rmSync(at('pve-root-ca.pem'), { force: true });
      rmSync(at(gone), { force: true });
      // Nothing answers there: what its certificate needs cannot be looked at.
      const { exit, out, err } = await setup(
        '--ca',
        join(dir, 'none.pem'),
        '--url',
        'https://127.0.0.1:1',
      );
      expect(err).toMatch(refused);
      expect(exit).toBe(78);
      expect(out).not.toContain('install -m');
    }
    expect(existsSync(at('config.yaml'))).toBe(false);
  });

  test.each([
    ["the cluster's CA goes", true],
    ['another one stays, and that is said', false],
  ])('--remove, where the sum of its copy is not known: %s', async (_name, isSame) => {
    expect((await setup()).exit).toBe(0);
    const { [at('pve-root-ca.pem')]: sum, ...rest } = JSON.parse(
      readFileSync(at('.setup.json'), 'utf8'),
    ) as Record<string, string>;
    expect(sum).toBeDefined();
    writeFileSync(at('.setup.json'), JSON.stringify(rest));
    if (!isSame) writeFileSync(at('pve-root-ca.pem'), 'another\n');
    const { exit, out } = await setup('--remove');
    expect(exit).toBe(0);
    expect(existsSync(at('pve-root-ca.pem'))).toBe(!isSame);
    expect(out.includes('pve-root-ca.pem is not known')).toBe(!isSame);
  });

  test('a name that is no name of a node never reaches a tool', async () => {
    const { exit } = await setup('--node', 'x;reboot');
    expect(exit).toBe(64);
    expect(changes()).toEqual([]);
  });
});
