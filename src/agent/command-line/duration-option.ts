/** A duration on the command line: what is wrong with it is said of the option, and at once. */
import { parseDurationMs } from '../../reconcile/desired.ts';
import { usageError } from './command.ts';

const LEAST_MS = 1_000;
/** As long as anybody may be away; of a shutdown what PVE takes. */
const MOST = { '--for': '366d', '--hold': '366d', '--timeout': '24h' } as const;

/** Milliseconds, from 1 s on. */
export function readDuration(option: keyof typeof MOST, text: string): number {
  const ms = parseDurationMs(text);
  const most = MOST[option];
  if (ms !== null && ms >= LEAST_MS && ms <= (parseDurationMs(most) ?? 0)) return ms;
  throw usageError(`${option}: expected a duration from 1s to ${most}, like 5m or 1h`);
}
