/** What doctor says of one thing it looked at. The names of checks are stable (docs/CLI.md). */
import { failureOf } from '../command-line/command.ts';
import { ERROR_TABLE } from '../errors.ts';

export type Level = 'ok' | 'warning' | 'error';

export const CHECKS = [
  'configuration',
  'token',
  'certificate',
  'connection',
  'version',
  'privileges',
  'token_scope',
  'clock',
  'ha',
  'desired',
  'state_dir',
  'disk_space',
  'sync_speed',
  'journal',
  'lock',
  'signers',
  'hub',
  'control_socket',
  'looks',
] as const;
export type Check = (typeof CHECKS)[number];

export interface Finding {
  readonly check: Check;
  readonly level: Level;
  /** What was found, one line. */
  readonly message: string;
  /** What it means for the agent; null where `message` says it all. */
  readonly means: string | null;
  /** What to do: a command where there is one. Null for ok. */
  readonly fix: string | null;
}

export function ok(check: Check, message: string): Finding {
  return { check, level: 'ok', message, means: null, fix: null };
}

export interface Trouble {
  readonly message: string;
  readonly means: string;
  readonly fix: string;
}

export function warning(check: Check, trouble: Trouble): Finding {
  return { check, level: 'warning', ...trouble };
}

export function failure(check: Check, trouble: Trouble): Finding {
  return { check, level: 'error', ...trouble };
}

/** What kept it from looking. A bug is thrown on. */
export function fromError(check: Check, error: unknown, means: string): Finding {
  const { code, message, hint } = failureOf(error);
  if (code === 'internal_error') throw error;
  return failure(check, { message, means, fix: hint ?? ERROR_TABLE[code].hint });
}
