/**
 * Runs one command line: makes the context, turns whatever ends it into lines on stderr and an
 * exit status. The commands themselves are declared in command-line.ts.
 */
import { type Command, CommanderError } from 'commander';
import { ReconcilerError } from '../../reconcile/errors.ts';
import { ERROR_TABLE, EXIT, type ExitCode } from '../errors.ts';
import { createTerminal, type Terminal } from '../terminal/terminal.ts';
import { type CommandContext, failureOf, printFailure, usageError } from './command.ts';
import { createProgram } from './command-line.ts';

/** `argv` without node and script. Never rejects. */
export async function runCli(argv: readonly string[]): Promise<ExitCode> {
  const terminal = createTerminal({ out: process.stdout, err: process.stderr }, process.env);
  const interruption = abortOnSignals();
  const exit = await runOn(terminal, argv, interruption.signal).finally(interruption.release);
  const lost = await terminal.out.finish();
  if (lost === null) return exit;
  const failed = printFailure(terminal, {
    code: 'interrupted',
    message: `the output cannot be written: ${lost.message}`,
    hint: 'look at where stdout goes; what the command has done is done',
  });
  return exit === EXIT.ok ? failed : exit;
}

/** The same without the process: on any terminal, stopped by any signal. */
export async function runOn(
  terminal: Terminal,
  argv: readonly string[],
  signal: AbortSignal,
): Promise<ExitCode> {
  let exit: ExitCode = EXIT.ok;
  const program = createProgram({
    terminal,
    run:
      (body) =>
      async (...args) => {
        const { config, json } = program.opts<{ config: string; json?: boolean }>();
        const isJson = json === true;
        const context: CommandContext = { terminal, isJson, configFile: config, signal };
        exit = await body(context, ...args);
      },
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return exit;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
    const problem = error instanceof CommanderError ? readUsage(error) : error;
    const failure = failureOf(problem);
    const hint = failure.hint ?? ERROR_TABLE[failure.code].hint;
    const command = nameOf(program, argv);
    return printFailure(terminal, { ...failure, hint: hint.replace('COMMAND ', () => command) });
  }
}

/** The command that was meant, with a blank behind it, as hints say `COMMAND`; empty: none is known. */
function nameOf(program: Command, argv: readonly string[]): string {
  let command = program;
  let name = '';
  for (const word of argv) {
    const inner = command.commands.find((each) => each.name() === word);
    if (inner === undefined) continue;
    command = inner;
    name += `${word} `;
  }
  return name;
}

function readUsage(error: CommanderError): ReconcilerError {
  // Its help is printed.
  if (error.code === 'commander.help') return usageError('expected a command');
  const [message = '', suggestion] = error.message.replace(/^error: /, '').split('\n');
  return usageError(message, suggestion?.replace(/^\((.*)\)$/, '$1'));
}

/**
 * The first signal asks for an orderly end; the second one kills, as it would without us. The
 * listener stays in between: a package that listens too (signal-exit, below the journal's lock)
 * ends the process where it finds itself alone.
 */
function abortOnSignals(): { readonly signal: AbortSignal; readonly release: () => void } {
  const controller = new AbortController();
  const release = (): void => {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  };
  const onSignal = (name: NodeJS.Signals): void => {
    if (!controller.signal.aborted) {
      controller.abort(new ReconcilerError('interrupted', `stopped by ${name}`));
      return;
    }
    release();
    process.kill(process.pid, name);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return { signal: controller.signal, release };
}
