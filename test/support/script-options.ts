/**
 * The command line of a script. What it does not understand, a number that is none among it, ends
 * it with its usage and 64: what did nothing must not look as if all had been well.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util';

type Options = NonNullable<ParseArgsConfig['options']>;
type Values<Given extends Options> = ReturnType<typeof parseArgs<{ options: Given }>>['values'];

export interface ScriptOptions<Given extends Options> {
  readonly values: Values<Given>;
  /** The option as a whole number, `least` or more. */
  readonly count: (name: string & keyof Values<Given>, least?: number) => number;
  readonly refuse: (why: string) => never;
}

export function readOptions<const Given extends Options>(
  usage: string,
  options: Given,
): ScriptOptions<Given> {
  const refuse = (why: string): never => {
    process.stderr.write(`${why}\nusage: ${usage}\n`);
    process.exit(64);
  };
  const values = parseOr(refuse, options);
  const count = (name: string & keyof Values<Given>, least = 1): number =>
    wholeNumber(String(values[name]), least) ??
    refuse(`--${name}: expected a number from ${least}`);
  return { values, count, refuse };
}

function parseOr<const Given extends Options>(
  refuse: (why: string) => never,
  options: Given,
): Values<Given> {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

/** Null: it is none, or less than `least`. */
export function wholeNumber(text: string, least = 1): number | null {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) && value >= least ? value : null;
}
