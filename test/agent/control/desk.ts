/** A desk before a running agent: a terminal whose text is kept, and a configuration that finds it. */
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import type { CommandContext } from '../../../src/agent/command-line/command.ts';
import { createTerminal } from '../../../src/agent/terminal/terminal.ts';
import { type ControlWorld, openControlWorld, type WorldSetup } from './control-world.ts';

export const GUESTS = {
  101: { running: true, config: { name: 'web' } },
  102: { config: { name: 'mail' } },
  103: { running: true, config: { name: '$(reboot)' } },
} as const;

class Recorder extends Writable {
  text = '';
  isTTY = false;
  columns = 80;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

export interface Desk {
  readonly world: ControlWorld;
  readonly context: CommandContext;
  readonly out: Recorder;
  readonly err: Recorder;
  readonly interrupt: AbortController;
}

export function setUp(setup: WorldSetup = {}): Promise<ControlWorld> {
  return openControlWorld({ guests: GUESTS, ...setup });
}

/** With `columns` stdout is a terminal. */
export async function sitDown(
  world: ControlWorld,
  options: { isJson?: boolean; isTerminal?: boolean; columns?: number } = {},
): Promise<Desk> {
  const folder = dirname(world.socket);
  const configFile = join(folder, 'config.yaml');
  await writeFile(
    configFile,
    `node: pve1\nstate_dir: ${folder}\ncontrol: { socket: ${world.socket} }\n`,
  );
  const out = new Recorder();
  const err = new Recorder();
  err.isTTY = options.isTerminal ?? false;
  out.isTTY = options.columns !== undefined;
  out.columns = options.columns ?? out.columns;
  const interrupt = new AbortController();
  const terminal = createTerminal({ out, err }, { NO_COLOR: '1', LANG: 'C.UTF-8' });
  const isJson = options.isJson ?? false;
  return {
    world,
    out,
    err,
    interrupt,
    context: { terminal, isJson, configFile, signal: interrupt.signal },
  };
}
