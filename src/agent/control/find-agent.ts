/** The running agent, for commands that talk to it. */
import { userInfo } from 'node:os';
import type { CommandContext } from '../command-line/command.ts';
import { loadConfig } from '../config/config.ts';
import { API } from './api.ts';
import { type ControlClient, connectToAgent, isNoAgent } from './client.ts';

/** Throws `service_unavailable` where none runs, `forbidden` without permission for its socket. */
export async function requireAgent({ configFile }: CommandContext): Promise<ControlClient> {
  const { control } = await loadConfig(configFile);
  return connectToAgent(control.socket);
}

/** Null where no agent runs. */
export async function findAgent(socket: string): Promise<ControlClient | null> {
  const client = connectToAgent(socket);
  try {
    await client.call(API.getHealth);
    return client;
  } catch (error) {
    await client[Symbol.asyncDispose]();
    if (isNoAgent(error)) return null;
    throw error;
  }
}

/** Who asks, as the journal will show it: claimed, never proven. */
export function claimedActor(env: Readonly<Record<string, string | undefined>>): {
  readonly actor?: string;
} {
  // Behind sudo it is a person who asks, not root.
  const actor = env['SUDO_USER'] || userName();
  return actor === null ? {} : { actor };
}

function userName(): string | null {
  try {
    return userInfo().username;
  } catch {
    return null; // a uid without a name
  }
}
