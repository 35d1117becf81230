/** A command line run in this process: as the program does it, without the start of one. */
import { Writable } from 'node:stream';
import { runOn } from '../../src/agent/command-line/cli.ts';
import { createTerminal } from '../../src/agent/terminal/terminal.ts';
import type { Ended } from './program.ts';

class Recorder extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

export async function runHere(...argv: string[]): Promise<Ended> {
  const streams = { out: new Recorder(), err: new Recorder() };
  const { signal } = new AbortController();
  const exit = await runOn(createTerminal(streams, {}), argv, signal);
  return { exit, out: streams.out.text, err: streams.err.text };
}
