import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { privilegeNeeds } from '../../../src/agent/doctor/privilege-needs.ts';
import type { AclEntry, Found } from '../../../src/agent/setup/pve-tools.ts';
import { removalSteps, setupSteps, shellLine } from '../../../src/agent/setup/steps.ts';

const USER = 'pve-reconciler@pve';
const TOKEN = `${USER}!agent-pve1`;

function needsUnder(unsigned: 'none' | 'benign') {
  const policy = {
    mode: 'enforce',
    unsigned,
    operator: 'disruptive',
    irreversibleSignatures: 2,
    maxParallel: 4,
    intervalMs: 0,
    configIntervalMs: 0,
  } as const;
  return privilegeNeeds({ node: 'pve1', policy, signers: [] });
}

function entry(path: string, roleid: string, ugid: string, propagate: number): AclEntry {
  return { path, roleid, ugid, propagate };
}

/** As after a first run under a policy that lets documents change configs. */
function setUp(tokenIds: readonly string[]): Found {
  const roles = Map.groupBy(needsUnder('benign'), ({ path }) => path);
  const names: Readonly<Record<string, string>> = {
    '/vms': 'ReconcilerGuests',
    '/nodes/pve1': 'ReconcilerNode',
    '/': 'ReconcilerCluster',
    '/sdn/zones': 'ReconcilerNetwork',
  };
  const held = [...roles].map(([path, needs]) => {
    return [names[path] ?? '', new Set(needs.map(({ privilege }) => privilege))] as const;
  });
  const acls = [...roles].flatMap(([path, [need]]) =>
    [USER, TOKEN].map((ugid) => entry(path, names[path] ?? '', ugid, Number(need?.propagates))),
  );
  return { roles: new Map(held), hasUser: true, tokenIds: new Set(tokenIds), acls };
}

function linesOf(unsigned: 'none' | 'benign', found: Found): readonly string[] {
  const wanted = { node: 'pve1', needs: needsUnder(unsigned) };
  return setupSteps(wanted, found, { hasTokenFile: true }).map(({ argv }) => shellLine(argv));
}

test('where all is there, nothing is done', () => {
  expect(linesOf('benign', setUp(['agent-pve1']))).toEqual([]);
});

test('a policy that needs less takes privileges, an entry and a role away', () => {
  expect(linesOf('none', setUp(['agent-pve1']))).toEqual([
    "pveum role modify ReconcilerGuests --privs 'VM.Audit VM.PowerMgmt'",
    `pveum acl delete /sdn/zones --users ${USER} --roles ReconcilerNetwork`,
    `pveum acl delete /sdn/zones --tokens '${TOKEN}' --roles ReconcilerNetwork`,
    'pveum role delete ReconcilerNetwork',
  ]);
});

test('what was granted by hand and is taken away is told, with the option that keeps it', () => {
  const found = setUp(['agent-pve1']);
  const roles = new Map(found.roles)
    .set('ReconcilerCluster', new Set(['Sys.Audit', 'Sys.Modify']))
    .set('ReconcilerNode', new Set());
  const wanted = { node: 'pve1', needs: needsUnder('benign') };
  const steps = setupSteps(wanted, { ...found, roles }, { hasTokenFile: true });
  expect(steps).toMatchObject([
    { argv: ['pveum', 'role', 'modify', 'ReconcilerNode', '--privs', 'Sys.Audit'] },
    {
      argv: ['pveum', 'role', 'modify', 'ReconcilerCluster', '--privs', 'Sys.Audit'],
      note: expect.stringMatching(/Cluster loses Sys\.Modify, .*`--startup-order` keeps/),
    },
  ]);
  expect(steps[0]).not.toHaveProperty('note');
});

test("what another node's agent stands on too only grows: one's own token loses its entry", () => {
  const both = setUp(['agent-pve1', 'agent-pve2']);
  expect(linesOf('none', both)).toEqual([
    `pveum acl delete /sdn/zones --tokens '${TOKEN}' --roles ReconcilerNetwork`,
  ]);
  const roles = new Map(both.roles).set('ReconcilerGuests', new Set(['VM.Audit', 'VM.Console']));
  const [line] = linesOf('none', { ...both, roles });
  expect(line).toBe('pveum role modify ReconcilerGuests --privs VM.PowerMgmt --append 1');
});

test('its lines come through a shell with a history word by word', () => {
  const words = [`--tokens=${TOKEN}`, "it's $HOME", 'a  b', '!!', '*', '#x', '~', ''];
  // What an interactive one has on; that would want the terminal.
  const history = 'HISTFILE=; set -o history -o histexpand';
  const input = `${history}\n${shellLine(['printf', '%s\\n', ...words])}\n`;
  const { stdout } = spawnSync('bash', { input, encoding: 'utf8' });
  expect(stdout).toBe(`${words.join('\n')}\n`);
});

test('removal leaves nothing of its own, and all that another agent stands on', () => {
  const alone = setUp(['agent-pve1']);
  const roles = new Map(alone.roles).set('ReconcilerGuests101', new Set(['VM.PowerMgmt']));
  for (const name of ['ReconcilerStorage', 'ReconcilerImages']) roles.set(name, new Set());
  const others = new Map(roles).set('PVEAuditor', new Set());
  const lines = removalSteps('pve1', { ...alone, roles: others }).map(({ argv }) => argv.join(' '));
  expect(lines).toEqual([
    `pveum user token remove ${USER} agent-pve1`,
    `pveum user delete ${USER}`,
    ...[...roles.keys()].map((name) => `pveum role delete ${name}`),
  ]);
  const shared = removalSteps('pve1', setUp(['agent-pve1', 'agent-pve2']));
  expect(shared.map(({ argv }) => argv.join(' '))).toEqual([
    `pveum user token remove ${USER} agent-pve1`,
    `pveum acl delete /nodes/pve1 --users ${USER} --roles ReconcilerNode`,
  ]);
});
