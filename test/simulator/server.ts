/** The whole simulated node: world, wire, control port, and the files it leaves in its folder. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Api, createHandler } from './api.ts';
import { bulkRoutes } from './bulk.ts';
import { createAuthority } from './certificates.ts';
import type { Ticker } from './clock.ts';
import { listenControl } from './control.ts';
import { Faults } from './faults.ts';
import { History } from './history.ts';
import { LookFiles } from './look-files.ts';
import { RequestLog } from './request-log.ts';
import { Router } from './router.ts';
import { clusterRoutes } from './routes-cluster.ts';
import { guestRoutes } from './routes-guests.ts';
import { haRoutes } from './routes-ha.ts';
import { taskRoutes } from './routes-tasks.ts';
import { listenWire } from './wire.ts';
import { loadWorld, type World } from './world.ts';

/** What main.ts prints when the node is ready. */
export interface Ready {
  readonly url: string;
  readonly control_url: string;
  readonly ca_file: string;
  readonly fingerprint: string;
  readonly tokens: Readonly<Record<string, string>>;
  readonly dir: string;
  readonly pid: number;
  readonly node: string;
}

export interface Server {
  readonly ready: Ready;
  /** For tests that run the server in their own process. */
  readonly api: Api;
  close(): Promise<void>;
}

export async function startServer(options: {
  readonly world: World;
  readonly dir: string;
  readonly port: number;
  readonly speed: number;
  readonly ticker: Ticker;
  /** Where the files of look-files.ts go; null: nowhere. */
  readonly lookDir: string | null;
  /** What is noted with each write (request-log.ts); null: nothing. */
  readonly watchDir?: string | null;
  readonly hasHistory?: boolean;
}): Promise<Server> {
  const { world, dir } = options;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const authority = createAuthority();
  const leaf = authority.issue(world.node);
  const { node, tokenLines } = loadWorld(world, {
    speed: options.speed,
    fingerprint: leaf.fingerprint,
    ticker: options.ticker,
  });
  const router = new Router(node, {
    ...guestRoutes,
    ...taskRoutes,
    ...clusterRoutes,
    ...haRoutes,
    ...bulkRoutes,
  });
  const api = { node, router, faults: new Faults(), log: new RequestLog(options.watchDir) };
  const handle = createHandler(api);
  const wire = await listenWire({
    port: options.port,
    leaf,
    handle,
    nowMs: () => node.clock.nowMs(),
  });
  const history = options.hasHistory === true ? new History(node) : null;
  const control = await listenControl({ ...api, wire, authority, history });
  const look = options.lookDir === null ? null : new LookFiles(node, options.lookDir);
  node.onChange = () => {
    look?.sync();
    history?.sync();
  };
  const caFile = join(dir, 'ca.pem');
  writeFileSync(caFile, authority.certificatePem);
  const ready: Ready = {
    url: `https://127.0.0.1:${wire.port}`,
    control_url: `http://127.0.0.1:${control.port}`,
    ca_file: caFile,
    fingerprint: leaf.fingerprint,
    tokens: writeTokens(dir, tokenLines),
    dir,
    pid: process.pid,
    node: node.name,
  };
  return {
    ready,
    api,
    close: async () => {
      node.onChange = () => {};
      await Promise.all([wire.close(), control.close()]);
    },
  };
}

function writeTokens(
  dir: string,
  lines: ReadonlyMap<string, string>,
): Readonly<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const [name, line] of lines) {
    const file = join(dir, `${name}.token`);
    writeFileSync(file, `${line}\n`, { mode: 0o600 });
    files[name] = file;
  }
  return files;
}
