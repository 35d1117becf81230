/** A recording of a real node, as test/fixtures/transcripts holds it. */
import { readdirSync, readFileSync } from 'node:fs';
import { z } from 'zod';

const FOLDER = new URL('../fixtures/transcripts/', import.meta.url);

const values = z.record(z.string(), z.unknown());

const stepSchema = z.object({
  auth: z.string().nullish(),
  note: z.string().optional(),
  request: z
    .object({
      method: z.string(),
      path: z.string(),
      query: values.optional(),
      form: values.optional(),
      json: values.optional(),
      raw_body: z.string().optional(),
    })
    .optional(),
  response: z
    .object({
      status: z.number(),
      reason: z.string(),
      headers: z.record(z.string(), z.string()),
      elapsed_ms: z.number(),
      body: z.unknown().optional(),
      text: z.string().optional(),
    })
    .optional(),
  /** What a write left in the config. */
  read_back: values.optional(),
  /** Seconds since the request a timeline is about. */
  t: z.number().nullish(),
  /** What changed since the previous poll of a timeline. */
  observed: values.optional(),
  /** [task status, exit status, guest status, (qmpstatus,) pid] of a reboot's timeline. */
  k: z.array(z.unknown()).optional(),
});

const transcriptSchema = z.object({ recorded: z.string(), steps: z.array(stepSchema) });

export type Step = z.infer<typeof stepSchema>;
export type Exchange = Step & {
  readonly request: NonNullable<Step['request']>;
  readonly response: NonNullable<Step['response']>;
};
export type Transcript = z.infer<typeof transcriptSchema>;

export function transcriptNames(): string[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))
    .sort();
}

export function readTranscript(name: string): Transcript {
  return transcriptSchema.parse(JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8')));
}

export function isExchange(step: Step | undefined): step is Exchange {
  return step?.request !== undefined && step.response !== undefined;
}
