/** A yes or no of whoever sits at the terminal. */
import { createInterface } from 'node:readline/promises';
import { ReconcilerError } from '../../reconcile/errors.ts';

export interface QuestionOptions {
  readonly input: NodeJS.ReadableStream;
  readonly output: NodeJS.WritableStream;
  readonly signal: AbortSignal;
}

/** The end of the input is a no. Throws `interrupted` on Ctrl-C, and why the signal was aborted. */
export async function askYesNo(
  question: string,
  { input, output, signal }: QuestionOptions,
): Promise<boolean> {
  const questions = createInterface({ input, output, terminal: true });
  const interrupt = new AbortController();
  const ended = new AbortController();
  // The terminal is in raw mode: Ctrl-C is a key then, and no signal comes of it.
  questions.once('SIGINT', () => {
    interrupt.abort(new ReconcilerError('interrupted', 'interrupted; nothing was begun'));
  });
  questions.once('close', () => ended.abort());
  const over = AbortSignal.any([signal, interrupt.signal, ended.signal]);
  try {
    const answer = await questions.question(question, { signal: over });
    return /^y(?:es)?$/i.test(answer.trim());
  } catch (error) {
    output.write('\n');
    signal.throwIfAborted();
    interrupt.signal.throwIfAborted();
    if (ended.signal.aborted) return false;
    throw error;
  } finally {
    questions.close();
  }
}
