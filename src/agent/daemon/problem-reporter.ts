/** What is wrong with what passes look at, in the log: once when it begins, once when it is over. */
import type { Problem } from '../../reconcile/errors.ts';
import { blindness, desiredProblems, type LastLook } from './last-look.ts';
import { type Log, logProblem } from './log.ts';

/** To be called after each pass. */
export function createProblemReporter(
  looks: Pick<LastLook, 'desired' | 'actual'>,
  log: Log,
): () => void {
  let known: ReadonlyMap<string, Problem> = new Map();
  return () => {
    const now = new Map(
      desiredProblems(looks.desired).map((problem) => [problem.message, problem]),
    );
    const blind = blindness(looks.actual);
    // One and the same for as long as it lasts: its words count down to when the node is asked again.
    const key = `blind: ${blind?.code}`;
    if (blind !== null) now.set(key, known.get(key) ?? blind);
    for (const [kind, problem] of now) if (!known.has(kind)) logProblem(log, problem);
    for (const [kind, { message }] of known) if (!now.has(kind)) log.info(`over: ${message}`);
    known = now;
  };
}
