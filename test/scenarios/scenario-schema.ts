/** The file of a scenario: a world, what is wanted of it, and a script. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { MODES, parseDurationMs } from '../../src/reconcile/desired.ts';

const guest = z.strictObject({
  kind: z.enum(['qemu', 'lxc']).exactOptional(),
  running: z.boolean().exactOptional(),
  template: z.boolean().exactOptional(),
  lock: z.string().exactOptional(),
  qmp_status: z.string().exactOptional(),
  ha: z.string().nullable().exactOptional(),
  config: z.record(z.string(), z.string()).exactOptional(),
  behaviour: z
    .strictObject({
      startMs: z.number().exactOptional(),
      shutdownMs: z.number().nullable().exactOptional(),
      startEnds: z.array(z.string()).exactOptional(),
      stopEnds: z.array(z.string()).exactOptional(),
      diesAfterMs: z.number().exactOptional(),
      configTaskMs: z.number().exactOptional(),
    })
    .exactOptional(),
});

const scenario = z.strictObject({
  world: z.record(z.string(), guest),
  /** Guests of one document; or of several, each by its name. */
  desired: z.record(z.string(), z.any()).exactOptional(),
  documents: z.record(z.string(), z.record(z.string(), z.any())).exactOptional(),
  policy: z
    .strictObject({
      mode: z.enum(MODES).exactOptional(),
      unsigned: z.enum(['none', 'benign', 'disruptive']).exactOptional(),
      operator: z.enum(['none', 'benign', 'disruptive']).exactOptional(),
      maxParallel: z.number().exactOptional(),
    })
    .exactOptional(),
  /** Between two passes; `never`: only those of the script. */
  passes: z.string().exactOptional(),
  /** `TIME COMMAND`, in the order of time. */
  script: z.array(z.string()).exactOptional(),
  until: z.string(),
});

export type Scenario = z.infer<typeof scenario>;

export function readScenario(file: string): Scenario {
  return scenario.parse(parse(readFileSync(file, 'utf8')));
}

/** `5s`, `1.5s`, `200ms`, `2m`. */
export function readTime(text: string): number {
  const seconds = /^([0-9]+\.[0-9]+)s$/.exec(text)?.[1];
  const ms = seconds === undefined ? parseDurationMs(text) : Number(seconds) * 1_000;
  if (ms === null) throw new Error(`not a time: ${text}`);
  return Math.round(ms);
}
