/**
 * Stands in for pveum and pvesh: real programs, first on PATH, that ask this process. It keeps their
 * users, roles, tokens and ACLs, and refuses what PVE refuses.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

interface State {
  readonly roles: Record<string, string>;
  users: string[];
  tokens: string[];
  acls: { path: string; ugid: string; roleid: string; propagate: number; type: string }[];
}

/** PVE 9 has no VM.Monitor, PVE 8 no VM.GuestAgent.*: a role that names one is refused. */
const UNKNOWN = /VM\.Monitor|VM\.GuestAgent|^$/;

/** A shell that passes its arguments on: each run of Node would take ten times as long. */
const scriptOf = (tool: string, port: number): string => `#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/${port}
printf '%s\\0' "$#" ${tool} "$@" >&3
read -r status <&3
if [ "$status" = 0 ]; then cat <&3; else cat <&3 >&2; fi
exit "$status"
`;

export class FakePveTools {
  readonly state: State = {
    roles: { PVEAuditor: 'VM.Audit' },
    users: ['root@pam'],
    tokens: [],
    acls: [],
  };
  /** Each with its program, argument by argument. */
  readonly calls: string[][] = [];
  version = '9.1.2';
  readonly #secret: string;
  readonly #server: Server;

  /** `secret` is that of every token. */
  static async install(folder: string, secret: string): Promise<FakePveTools> {
    const tools = new FakePveTools(secret);
    await new Promise<void>((resolve) => tools.#server.listen(0, '127.0.0.1', resolve));
    const { port } = tools.#server.address() as AddressInfo;
    mkdirSync(folder, { recursive: true });
    for (const tool of ['pveum', 'pvesh']) {
      writeFileSync(join(folder, tool), scriptOf(tool, port), { mode: 0o755 });
    }
    return tools;
  }

  private constructor(secret: string) {
    this.#secret = secret;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  async stop(): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: Socket): void {
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const [count, ...call] = text.split('\0').slice(0, -1);
      if (call.length <= Number(count)) return;
      this.calls.push(call);
      socket.end(this.#answer(call));
    });
  }

  /** The exit status on a line, then the output. */
  #answer([tool = '', ...args]: readonly string[]): string {
    try {
      const value = this.#run(tool, args);
      return args.includes('--output-format') ? `0\n${JSON.stringify(value)}\n` : '0\n';
    } catch (error) {
      return `255\n${error instanceof Error ? error.message : String(error)}\n`;
    }
  }

  #run(tool: string, args: readonly string[]): unknown {
    const [noun = '', verb = '', first = '', second = '', third = ''] = args;
    if (tool === 'pvesh') {
      return verb === '/nodes'
        ? [{ node: 'pve1' }, { node: 'pve2' }]
        : { version: this.version, release: '9' };
    }
    if (noun === 'role') return this.#role(verb, first, args);
    if (noun === 'user' && verb === 'token') return this.#token(first, second, third);
    if (noun === 'user') return this.#user(verb, first);
    if (noun === 'acl') return this.#acl(verb, first, args);
    throw new Error(`no such command '${noun}'`);
  }

  #role(verb: string, id: string, args: readonly string[]): unknown {
    const { roles } = this.state;
    if (verb === 'list') {
      return Object.entries(roles).map(([roleid, privs]) => ({ roleid, privs, special: 0 }));
    }
    if ((verb === 'add') === id in roles) throw new Error(`role '${id}' ${verb}: it is or is not`);
    if (id.startsWith('PVE')) throw new Error('role name: prefix PVE is reserved');
    if (verb === 'delete') return delete roles[id];
    const privileges = option(args, '--privs').split(/[ ,]/);
    const bad = privileges.find((name) => UNKNOWN.test(name));
    if (bad !== undefined) throw new Error(`invalid privilege '${bad}'`);
    const kept = args.includes('--append') ? (roles[id] ?? '').split(',') : [];
    return (roles[id] = [...kept, ...privileges].join(','));
  }

  #user(verb: string, id: string): unknown {
    const { state } = this;
    if (verb === 'list') return state.users.map((userid) => ({ userid, enable: 1 }));
    if ((verb === 'add') === state.users.includes(id)) throw new Error(`user '${id}': cannot`);
    if (verb === 'add') return state.users.push(id);
    state.users = state.users.filter((each) => each !== id);
    state.tokens = state.tokens.filter((token) => !token.startsWith(`${id}!`));
    return (state.acls = state.acls.filter(({ ugid }) => ugid.split('!')[0] !== id));
  }

  #token(verb: string, userid: string, id: string): unknown {
    const { state } = this;
    const own = state.tokens.filter((each) => each.startsWith(`${userid}!`));
    if (!state.users.includes(userid)) throw new Error(`no such user ('${userid}')`);
    if (verb === 'list') return own.map((each) => ({ tokenid: each.split('!')[1], privsep: 1 }));
    const full = `${userid}!${id}`;
    if ((verb === 'add') === own.includes(full)) throw new Error(`token '${full}': cannot`);
    state.tokens = state.tokens.filter((each) => each !== full);
    state.acls = state.acls.filter(({ ugid }) => ugid !== full);
    if (verb === 'add') state.tokens.push(full);
    return { 'full-tokenid': full, value: this.#secret, info: { privsep: '1' } };
  }

  #acl(verb: string, path: string, args: readonly string[]): unknown {
    const { state } = this;
    if (verb === 'list') return state.acls;
    const roleid = option(args, '--roles');
    if (!(roleid in state.roles)) throw new Error(`role '${roleid}' does not exist`);
    const named = [
      [option(args, '--users'), state.users, 'user'],
      [option(args, '--tokens'), state.tokens, 'token'],
    ] as const;
    const unknown = named.find(([ugid, known]) => verb !== 'delete' && !known.includes(ugid));
    if (unknown !== undefined) throw new Error(`${unknown[2]} '${unknown[0]}' does not exist`);
    for (const [ugid, , type] of named) {
      const isOther = (each: State['acls'][number]): boolean =>
        each.path !== path || each.ugid !== ugid || each.roleid !== roleid;
      state.acls = state.acls.filter(isOther);
      if (verb === 'delete') continue;
      const propagate = Number(option(args, '--propagate'));
      state.acls.push({ path, ugid, roleid, propagate, type });
    }
    return null;
  }
}

function option(args: readonly string[], name: string): string {
  return args.includes(name) ? (args[args.indexOf(name) + 1] ?? '') : '';
}
