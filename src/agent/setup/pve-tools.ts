/**
 * PVE's own command-line tools, run with their arguments as they are: no shell stands between, so
 * no name can turn into a command. What they print is read as JSON and checked.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { ReconcilerError } from '../../reconcile/errors.ts';

const run = promisify(execFile);
/** They are Perl, and wait for a cluster lock at most 10 s. */
const TIMEOUT_MS = 60_000;

export type Argv = readonly [program: string, ...args: string[]];

/** Are PVE's tools here? Nothing is run. */
export function isOnPve(): boolean {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.some((folder) => existsSync(join(folder, 'pveum')));
}

/** Standard output. Throws `service_unavailable` where the tool is missing, `task_failed` else. */
export async function runTool([program, ...args]: Argv): Promise<string> {
  try {
    return (await run(program, args, { timeout: TIMEOUT_MS })).stdout;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    if (code === 'ENOENT') {
      throw new ReconcilerError('service_unavailable', `there is no ${program} here`, {
        hint: 'run it on a Proxmox VE host; `--print` shows what it would do anywhere',
      });
    }
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    const words = said === '' ? String(error) : said;
    throw new ReconcilerError('task_failed', `${[program, ...args].join(' ')}: ${words}`, {
      hint: 'nothing that was done before is lost: mend it and run setup again',
    });
  }
}

async function readTool<T>(argv: Argv, schema: z.ZodType<T>): Promise<T> {
  const out = await runTool([...argv, '--output-format', 'json']);
  try {
    return schema.parse(JSON.parse(out));
  } catch (cause) {
    const message = `${argv.join(' ')} did not print what it does on PVE`;
    throw new ReconcilerError('service_unavailable', message, { cause });
  }
}

const roles = z.array(z.object({ roleid: z.string(), privs: z.string().nullish() }));
const users = z.array(z.object({ userid: z.string() }));
const tokens = z.array(z.object({ tokenid: z.string() }));
const acls = z.array(
  z.object({
    path: z.string(),
    ugid: z.string(),
    roleid: z.string(),
    propagate: z.union([z.number(), z.string(), z.boolean()]).optional().transform(Number),
  }),
);
const version = z.object({ version: z.string() });
const nodes = z.array(z.object({ node: z.string() }));
const newToken = z.object({ value: z.string().min(1) });

export type AclEntry = z.output<typeof acls>[number];

/** What there is of users and rights. */
export interface Found {
  readonly roles: ReadonlyMap<string, ReadonlySet<string>>;
  readonly hasUser: boolean;
  readonly tokenIds: ReadonlySet<string>;
  readonly acls: readonly AclEntry[];
}

export const NOTHING_FOUND: Found = {
  roles: new Map(),
  hasUser: false,
  tokenIds: new Set(),
  acls: [],
};

export async function readVersion(): Promise<string> {
  return (await readTool(['pvesh', 'get', '/version'], version)).version;
}

/** Of the cluster. */
export async function readNodes(): Promise<readonly string[]> {
  return (await readTool(['pvesh', 'get', '/nodes'], nodes)).map(({ node }) => node);
}

/** Each tool takes about a second to start: they run side by side. */
export async function readFound(user: string): Promise<Found> {
  const readTokens = async (): Promise<z.output<typeof tokens> | null> => {
    const known = await readTool(['pveum', 'user', 'list'], users);
    const hasUser = known.some(({ userid }) => userid === user);
    return hasUser ? readTool(['pveum', 'user', 'token', 'list', user], tokens) : null;
  };
  const [listed, owned, entries] = await Promise.all([
    readTool(['pveum', 'role', 'list'], roles),
    readTokens(),
    readTool(['pveum', 'acl', 'list'], acls),
  ]);
  return {
    roles: new Map(
      listed.map(({ roleid, privs }) => [roleid, new Set((privs ?? '').split(/[,\s]+/))]),
    ),
    hasUser: owned !== null,
    tokenIds: new Set((owned ?? []).map(({ tokenid }) => tokenid)),
    acls: entries,
  };
}

/** Makes a token; PVE shows its secret this once. */
export async function addToken(argv: Argv): Promise<string> {
  return (await readTool(argv, newToken)).value;
}
