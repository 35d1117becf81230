/**
 * What every command is given, and how a command says that it failed. A command resolves with its
 * exit status, or throws a `ReconcilerError` where it cannot go on.
 */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { ReconcilerError } from '../../reconcile/errors.ts';
import { asWhom, isForeign, permissionHint } from '../daemon/state-owner.ts';
import { ERROR_TABLE, type ExitCode } from '../errors.ts';
import { printable, type Terminal } from '../terminal/terminal.ts';

export interface CommandContext {
  readonly terminal: Terminal;
  /** One JSON document on stdout (one per line where a stream is followed), nothing else there. */
  readonly isJson: boolean;
  readonly configFile: string;
  /** Aborted by SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

/** Makes a commander action of a command: gives it its context, and its exit status to the process. */
export type Run = <Args extends unknown[]>(
  body: (context: CommandContext, ...args: Args) => Promise<ExitCode>,
) => (...args: Args) => Promise<void>;

export interface Failure {
  readonly code: ReconcilerError['code'];
  readonly message: string;
  readonly hint?: string | undefined;
  /** `op_id`, `request_id`, … */
  readonly ids?: Readonly<Record<string, string | number>>;
}

/** `error [code] message` on stderr, one line for each thing to mend, then the next step. */
export function printFailure(terminal: Terminal, failure: Failure): ExitCode {
  const { err } = terminal;
  const { exit, hint } = ERROR_TABLE[failure.code];
  const label = err.paint('red', `error [${failure.code}]`);
  const ids = Object.entries(failure.ids ?? {}).map(([name, value]) => ` (${name} ${value})`);
  for (const line of failure.message.split('\n')) {
    err.line(`${label} ${printable(line)}${printable(ids.join(''))}`);
  }
  const next = hintFor(failure.hint ?? hint, failure.ids?.['op_id']);
  err.line(`${err.paint('cyan', 'hint:')} ${printable(next)}`);
  return exit;
}

/** The table's hints say `ID` of an op. */
function hintFor(hint: string, opId: string | number | undefined): string {
  return opId === undefined ? hint : hint.replace(/\bID\b/, () => `${opId}`);
}

/** Ids that belong on an error line. */
const ID_NAMES: readonly string[] = ['op_id', 'request_id', 'vmid', 'upid'];

export function failureOf(error: unknown): Failure {
  if (!(error instanceof ReconcilerError)) {
    const path = deniedPath(error);
    if (path !== null) return denied(`no permission for ${path}`, path);
    const file = fileInTheWay(error);
    if (file !== null) {
      const message = `${file} is not a folder`;
      return { code: 'config_invalid', message, hint: 'Move it out of the way.' };
    }
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { code: 'internal_error', message };
  }
  const { code, detail: message, hint, context } = error;
  const path = deniedPath(error.cause);
  if (code === 'forbidden' && path !== null) return denied(message, path);
  const place = context['path'];
  if (typeof place === 'string' && isForeign(place)) {
    return {
      code,
      message: `${message}${asWhom()}`,
      hint: permissionHint(place),
    };
  }
  const ids = Object.entries(context).filter(([name]) => ID_NAMES.includes(name));
  return { code, message, hint, ids: Object.fromEntries(ids) };
}

function denied(message: string, path: string): Failure {
  return { code: 'forbidden', message: `${message}${asWhom()}`, hint: permissionHint(path) };
}

/** The file that the system would not let us have; null: it was something else. */
function deniedPath(error: unknown): string | null {
  return pathOf(error, ['EACCES', 'EPERM']);
}

/** What stands where a folder of the configuration should be; null: it was something else. */
function fileInTheWay(error: unknown): string | null {
  let path = pathOf(error, ['ENOTDIR']);
  while (path !== null && !existsSync(path)) path = dirname(path);
  return path;
}

function pathOf(error: unknown, codes: readonly string[]): string | null {
  if (!(error instanceof Error && 'code' in error && 'path' in error)) return null;
  const { code, path } = error;
  return codes.some((each) => each === code) && typeof path === 'string' ? path : null;
}

/** Of a command line; the hint's COMMAND becomes the one that was meant (cli.ts). */
export function usageError(
  message: string,
  hint = 'see `pve-reconciler COMMAND --help`',
): ReconcilerError {
  return new ReconcilerError('invalid_request', message, { hint });
}

/** The JSON document of a command. */
export function printJson({ out }: Terminal, value: unknown): void {
  out.line(JSON.stringify(value, null, out.isTerminal ? 2 : 0));
}
