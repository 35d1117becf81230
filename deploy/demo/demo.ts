/**
 * `npm run demo`: a node that is not as desired, an agent that makes it so, somebody who meddles.
 * The program, the protocol and the journal are those of production; only the node is simulated.
 * Exit 0 only if every step went as it should.
 */
import { type LogLine, type Stage, setStage } from './stage.ts';

/** The whole takes some 15 s; a step that takes this long has gone wrong. */
const DEADLINE_MS = 120_000;

const bold = (text: string): string => (process.stdout.isTTY ? `\u001B[1m${text}\u001B[0m` : text);

function say(text: string): void {
  console.log(`\n${bold(`── ${text}`)}`);
}

function expect(what: string, actual: unknown, wanted: unknown): void {
  if (actual !== wanted) throw new Error(`${what}: ${String(actual)}, expected ${String(wanted)}`);
}

/** The agent's log, as far as it tells what happens to guests. */
function showLine({ message, vmid, upid, level }: LogLine): void {
  if (level === undefined) return console.log(`   ${message}`);
  if (typeof vmid !== 'number') return console.log(`   agent: ${message}`);
  console.log(`   ${vmid}  ${message}${typeof upid === 'string' ? `  ${upid}` : ''}`);
}

const isAllInSync = ({ drift, in_sync }: LogLine): boolean => drift === 0 && in_sync !== 0;

const ended =
  (kind: string, vmid: number) =>
  (line: LogLine): boolean =>
    line['vmid'] === vmid && line.message === `${kind} succeeded`;

async function play({ node, run, check, startAgent }: Stage): Promise<void> {
  say(`a node with 12 guests at ${node.url}; this is how it differs from deploy/examples`);
  expect('plan', await run('plan'), 2);

  say('the agent closes that, op by op');
  const agent = startAgent(showLine);
  await agent.waitFor('all guests in sync', isAllInSync);

  say('everything is in sync');
  expect('plan', await check('plan'), 0);
  expect('status', await run('status'), 0);

  say('somebody stops web-1 and gives ct-proxy-2 another core count');
  const api = `/nodes/${node.node}`;
  await node.control('POST', '/somebody', {
    method: 'POST',
    path: `${api}/qemu/100/status/stop`,
  });
  await node.control('POST', '/somebody', {
    method: 'PUT',
    path: `${api}/lxc/201/config`,
    params: { cores: 1 },
  });
  const closed = new Set<string>();
  await agent.waitFor('the agent to close it', (line) => {
    if (ended('start', 100)(line)) closed.add('start');
    if (ended('set_config', 201)(line)) closed.add('set_config');
    return closed.size === 2;
  });
  expect('plan', await check('plan'), 0);

  say('what it did, from its journal');
  expect('the agent', await agent.stop(), 0);
  expect('ops list', await run('ops', 'list'), 0);
  expect('journal verify', await run('journal', 'verify'), 0);
}

// Before anything is begun: a signal must find somebody who cleans up.
const interrupted = Promise.withResolvers<never>();
interrupted.promise.catch(() => undefined);
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(name, () => interrupted.reject(new Error(`interrupted by ${name}`)));
}
setTimeout(() => {
  interrupted.reject(new Error(`not done within ${DEADLINE_MS / 1000} s`));
}, DEADLINE_MS).unref();

let stage: Stage | null = null;
try {
  stage = await setStage();
  await Promise.race([play(stage), interrupted.promise]);
  say('every step went as it should');
} catch (error) {
  console.error(`demo: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await stage?.strike();
}
