/**
 * How long reconciling may be kept away for, whoever asks and however: a hold, an op's hold, a
 * pause. Longer is for good, which is a hold without an end.
 */
import { durationSchema, parseDurationMs } from '../../reconcile/desired.ts';

const HOLD_MAX_MS = 366 * 24 * 3_600_000;
const EXPECTED = 'expected between 1ms and 366d';

/** `1h` as milliseconds. */
export const holdTime = durationSchema
  .transform((text) => parseDurationMs(text) ?? Number.NaN)
  .refine((ms) => ms > 0 && ms <= HOLD_MAX_MS, EXPECTED);
