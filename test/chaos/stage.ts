/**
 * What a chaos run stands on: a temporary folder, a simulated node in a process of its own, a
 * network between, an agent. `strike` leaves nothing of it.
 */
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { makeKey, type TestKey } from '../agent/hub/signing.ts';
import { type Simulator, startSimulator } from '../simulator/start.ts';
import { AgentHost } from './agent-host.ts';
import type { Wishes } from './evidence.ts';
import { JournalWatch } from './journal-watch.ts';
import { MovableClock, SmallDisk } from './machine.ts';
import { ChaosProxy } from './proxy.ts';
import type { Script } from './script.ts';

export const AGENT_ID = 'chaos';
const PROGRAM = fileURLToPath(new URL('../../dist/pve-reconciler.js', import.meta.url));
/** Tasks long enough that something can happen meanwhile. */
const DURATIONS_MS = { qmstart: 1_600, qmstop: 800, vzstart: 2_400, vzstop: 1_600, qmconfig: 60 };
const SPEED = 4;

export interface Abilities {
  readonly canMount: boolean;
  readonly clockLibrary: string | null;
}

const programOf = (dir: string): string => join(dir, 'program', basename(PROGRAM));

export class Stage {
  readonly dir: string;
  readonly node: Simulator;
  readonly proxy: ChaosProxy;
  readonly agent: AgentHost;
  readonly journal: JournalWatch;
  readonly clock: MovableClock | null;
  readonly disk: SmallDisk | null;
  readonly keys: readonly TestKey[];

  private constructor(
    parts: Pick<Stage, 'dir' | 'node' | 'proxy' | 'agent' | 'journal' | 'clock' | 'disk' | 'keys'>,
  ) {
    this.dir = parts.dir;
    this.node = parts.node;
    this.proxy = parts.proxy;
    this.agent = parts.agent;
    this.journal = parts.journal;
    this.clock = parts.clock;
    this.disk = parts.disk;
    this.keys = parts.keys;
  }

  static async set(script: Script, abilities: Abilities): Promise<Stage> {
    const dir = mkdtempSync(join(tmpdir(), 'pve-reconciler-chaos-'));
    const disk =
      script.hasSmallDisk && abilities.canMount ? new SmallDisk(join(dir, 'state')) : null;
    const journalDir = join(dir, 'state', 'journal');
    mkdirSync(journalDir, { recursive: true, mode: 0o700 });
    const nodeDir = join(dir, 'node');
    mkdirSync(nodeDir);
    const node = await startSimulator({
      world: {
        guests: script.guests.map(({ setup }) => setup),
        durations_ms: DURATIONS_MS,
        uptime_s: 86_400,
      },
      speed: SPEED,
      dir: nodeDir,
      watch: journalDir,
      history: true,
    });
    const proxy = await ChaosProxy.start(Number(new URL(node.url).port));
    const keys = [makeKey('hub-1'), makeKey('hub-2')];
    // A build meanwhile changes nothing for this run.
    const program = programOf(dir);
    cpSync(dirname(PROGRAM), dirname(program), { recursive: true });
    writeDesired(dir, script.wishes);
    const { clockLibrary } = abilities;
    const clock = clockLibrary === null ? null : new MovableClock(clockLibrary, join(dir, 'clock'));
    const agent = new AgentHost({
      program,
      configFile: writeConfig(dir, { script, node, proxy, keys }),
      logFile: join(dir, 'agent.log'),
      env: clock?.env ?? {},
    });
    const journal = new JournalWatch(journalDir);
    return new Stage({ dir, node, proxy, agent, journal, clock, disk, keys });
  }

  get program(): string {
    return programOf(this.dir);
  }

  get socket(): string {
    return join(this.dir, 'agent.sock');
  }

  get stateDir(): string {
    return join(this.dir, 'state');
  }

  get configFile(): string {
    return join(this.dir, 'config.yaml');
  }

  writeDesired(wishes: Wishes): void {
    writeDesired(this.dir, wishes);
  }

  /** The evidence is kept where it is. */
  async strike({ isKept }: { readonly isKept: boolean }): Promise<void> {
    await this.agent.strike();
    this.journal.close();
    await this.proxy.close();
    await this.node.stop();
    if (this.disk !== null) {
      const copy = join(this.dir, 'kept-state');
      if (isKept) cpSync(this.stateDir, copy, { recursive: true });
      this.disk.unmount();
    }
    if (!isKept) rmSync(this.dir, { recursive: true });
  }
}

/** Whole or not at all. */
function writeDesired(dir: string, guests: Wishes): void {
  const file = join(dir, 'desired.yaml');
  writeFileSync(`${file}.new`, stringify({ version: 1, guests }));
  renameSync(`${file}.new`, file);
}

interface Ends {
  readonly script: Script;
  readonly node: Simulator;
  readonly proxy: ChaosProxy;
  readonly keys: readonly TestKey[];
}

function writeConfig(dir: string, { script, node, proxy, keys }: Ends): string {
  const signers = keys.map(({ keyid, publicKey }) => {
    const file = join(dir, `${keyid}.pub.pem`);
    writeFileSync(file, publicKey.export({ type: 'spki', format: 'pem' }), { mode: 0o644 });
    const allow = { kinds: ['start', 'stop', 'restart', 'set_config'], vmids: '100-999' };
    return { keyid, public_key_file: file, allow };
  });
  const file = join(dir, 'config.yaml');
  const config = {
    agent: AGENT_ID,
    node: node.node,
    proxmox: {
      url: `https://127.0.0.1:${proxy.port}`,
      token_file: node.tokenFile('agent'),
      ca_file: node.caFile,
    },
    state_dir: join(dir, 'state'),
    journal: { segment_bytes: script.segmentBytes, keep_segments: 100_000 },
    control: { socket: join(dir, 'agent.sock') },
    desired: [{ file: join(dir, 'desired.yaml') }],
    reconcile: { interval: '1s', config_interval: '2s' },
    signers,
  };
  writeFileSync(file, stringify(config), { mode: 0o600 });
  return file;
}
