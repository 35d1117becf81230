/** A command line run in this process: as the program does it, without the start of one. */
import { Writable } from 'node:stream';
import { CommanderError } from 'commander';
import { failureOf, printFailure, usageError } from '../../../src/agent/command-line/command.ts';
import { createProgram } from '../../../src/agent/command-line/command-line.ts';
import { createTerminal } from '../../../src/agent/terminal/terminal.ts';
import type { Ended } from '../program.ts';

class Recorder extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

export async function runHere(...argv: string[]): Promise<Ended> {
  const streams = { out: new Recorder(), err: new Recorder() };
  const terminal = createTerminal(streams, {});
  let exit = 0;
  const program = createProgram({
    terminal,
    run:
      (body) =>
      async (...args) => {
        const { config, json = false } = program.opts<{ config: string; json?: boolean }>();
        const { signal } = new AbortController();
        exit = await body({ terminal, isJson: json, configFile: config, signal }, ...args);
      },
  });
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    const failure = error instanceof CommanderError ? usageError(error.message) : error;
    exit = printFailure(terminal, failureOf(failure));
  }
  return { exit, out: streams.out.text, err: streams.err.text };
}
