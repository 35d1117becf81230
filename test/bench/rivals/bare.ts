/**
 * The least anybody could do, by node:https and nothing else: no journal, no plan, no second look.
 * Prints what it took in JSON.
 *
 *   node bare.ts URL CA_FILE TOKEN NODE pass TIMES
 *   node bare.ts URL CA_FILE TOKEN NODE start VMID…
 */
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';

/** As the agent's defaults are. */
const CONNECTIONS = 2;
const PARALLEL = 4;
/** A start takes about that; then it is asked for again. */
const FIRST_POLL_MS = 200;
const NEXT_POLL_MS = 50;

const [, , url = '', caFile = '', token = '', node = '', job, ...rest] = process.argv;
const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS, ca: readFileSync(caFile) });
const headers = { authorization: `PVEAPIToken=${token}` };

function ask(method: string, path: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    request(`${url}/api2/json/nodes/${node}${path}`, { method, agent, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')).data));
      response.on('error', reject);
    })
      .on('error', reject)
      .end();
  });
}

async function start(vmid: string): Promise<void> {
  const upid = String(await ask('POST', `/qemu/${vmid}/status/start`));
  await delay(FIRST_POLL_MS);
  const status = async (): Promise<unknown> => {
    const answer = await ask('GET', `/tasks/${encodeURIComponent(upid)}/status`);
    return JSON.stringify(answer).includes('"stopped"');
  };
  while ((await status()) !== true) await delay(NEXT_POLL_MS);
}

/** Is every guest running? */
async function pass(): Promise<void> {
  await Promise.all([ask('GET', '/qemu'), ask('GET', '/lxc')]);
}

async function work(): Promise<void> {
  if (job === 'pass') {
    for (let left = Number(rest[0]); left > 0; left--) await pass();
    return;
  }
  const vmids = [...rest];
  const lane = async (): Promise<void> => {
    for (let vmid = vmids.shift(); vmid !== undefined; vmid = vmids.shift()) await start(vmid);
  };
  await Promise.all(Array.from({ length: PARALLEL }, lane));
}

const before = process.cpuUsage();
const sinceMs = performance.now();
await work();
const { user, system } = process.cpuUsage(before);
agent.destroy();
console.log(
  JSON.stringify({ wallMs: performance.now() - sinceMs, cpuMs: (user + system) / 1_000 }),
);
