/**
 * Stands in for pveum and pvesh: real programs, first on PATH, that keep their users, roles, tokens
 * and ACLs in a JSON file and refuse what PVE refuses. Each call is a line in `calls`, argument by
 * argument.
 */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

interface State {
  roles: Record<string, string>;
  users: string[];
  tokens: string[];
  acls: { path: string; ugid: string; roleid: string; propagate: number; type: string }[];
}

const [, , dir = '', tool = '', ...args] = process.argv;
const stateFile = join(dir, 'state.json');
const state: State = existsSync(stateFile)
  ? (JSON.parse(readFileSync(stateFile, 'utf8')) as State)
  : { roles: { PVEAuditor: 'VM.Audit' }, users: ['root@pam'], tokens: [], acls: [] };

/** PVE 9 has no VM.Monitor, PVE 8 no VM.GuestAgent.*: a role that names one is refused. */
const UNKNOWN = /VM\.Monitor|VM\.GuestAgent|^$/;

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(255);
}

function option(name: string): string {
  return args.includes(name) ? (args[args.indexOf(name) + 1] ?? '') : '';
}

function print(value: unknown): void {
  if (!args.includes('--output-format')) return;
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function role(verb: string, id: string): void {
  if (verb === 'list') {
    print(Object.entries(state.roles).map(([roleid, privs]) => ({ roleid, privs, special: 0 })));
    return;
  }
  if ((verb === 'add') === id in state.roles) fail(`role '${id}' ${verb}: exists or does not`);
  if (id.startsWith('PVE')) fail('role name: prefix PVE is reserved');
  if (verb === 'delete') delete state.roles[id];
  else {
    const privileges = option('--privs').split(/[ ,]/);
    const bad = privileges.find((name) => UNKNOWN.test(name));
    if (bad !== undefined) fail(`invalid privilege '${bad}'`);
    const kept = args.includes('--append') ? (state.roles[id] ?? '').split(',') : [];
    state.roles[id] = [...kept, ...privileges].join(',');
  }
}

function user(verb: string, id: string): void {
  if (verb === 'list') return print(state.users.map((userid) => ({ userid, enable: 1 })));
  if ((verb === 'add') === state.users.includes(id)) fail(`user '${id}' ${verb}: cannot`);
  if (verb === 'add') state.users.push(id);
  else {
    state.users = state.users.filter((each) => each !== id);
    state.tokens = state.tokens.filter((token) => !token.startsWith(`${id}!`));
    state.acls = state.acls.filter(({ ugid }) => ugid.split('!')[0] !== id);
  }
}

function token(verb: string, userid: string, id: string): void {
  const own = state.tokens.filter((each) => each.startsWith(`${userid}!`));
  if (!state.users.includes(userid)) fail(`no such user ('${userid}')`);
  if (verb === 'list') {
    return print(own.map((each) => ({ tokenid: each.split('!')[1], privsep: 1 })));
  }
  const full = `${userid}!${id}`;
  if ((verb === 'add') === own.includes(full)) fail(`token '${full}' ${verb}: cannot`);
  state.tokens = state.tokens.filter((each) => each !== full);
  state.acls = state.acls.filter(({ ugid }) => ugid !== full);
  if (verb !== 'add') return;
  state.tokens.push(full);
  print({ 'full-tokenid': full, value: process.env['FAKE_PVE_SECRET'], info: { privsep: '1' } });
}

function acl(verb: string, path: string): void {
  if (verb === 'list') return print(state.acls);
  const roleid = option('--roles');
  if (!(roleid in state.roles)) fail(`role '${roleid}' does not exist`);
  if (verb === 'delete') {
    const gone = [option('--users'), option('--tokens')];
    state.acls = state.acls.filter(
      (each) => each.path !== path || each.roleid !== roleid || !gone.includes(each.ugid),
    );
    return;
  }
  const propagate = Number(option('--propagate'));
  for (const [ugid, known, type] of [
    [option('--users'), state.users, 'user'],
    [option('--tokens'), state.tokens, 'token'],
  ] as const) {
    if (!known.includes(ugid)) fail(`${type} '${ugid}' does not exist`);
    const isOther = (each: State['acls'][number]): boolean =>
      each.path !== path || each.ugid !== ugid || each.roleid !== roleid;
    state.acls = [...state.acls.filter(isOther), { path, ugid, roleid, propagate, type }];
  }
}

appendFileSync(join(dir, 'calls'), `${JSON.stringify([tool, ...args])}\n`);
const [noun = '', verb = '', first = '', second = '', third = ''] = args;
if (tool === 'pvesh' && verb === '/nodes') print([{ node: 'pve1' }, { node: 'pve2' }]);
else if (tool === 'pvesh') print({ version: process.env['FAKE_PVE_VERSION'], release: '9' });
else if (noun === 'role') role(verb, first);
else if (noun === 'user' && verb === 'token') token(first, second, third);
else if (noun === 'user') user(verb, first);
else if (noun === 'acl') acl(verb, first);
else fail(`no such command '${noun}'`);
// Reads run side by side, and a file that is being written cannot be read.
if (!args.includes('list') && tool !== 'pvesh') writeFileSync(stateFile, JSON.stringify(state));
