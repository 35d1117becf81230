/** The recordings of a real node (test/fixtures/transcripts), step by step. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = join(import.meta.dirname, '../fixtures/transcripts');

export interface Step {
  readonly transcript: string;
  readonly auth: string;
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string | number>>;
  /** The parameters of its body, if it had any. */
  readonly sent: Readonly<Record<string, string | number>>;
  readonly status: number;
  readonly reason: string;
  readonly contentType: string;
  /** The body as bytes would have brought it. */
  readonly text: string;
  readonly body: unknown;
}

interface RawStep {
  readonly auth?: string;
  readonly request?: {
    readonly method: string;
    readonly path: string;
    readonly query?: Readonly<Record<string, string | number>>;
    readonly form?: Readonly<Record<string, string | number>>;
    readonly json?: Readonly<Record<string, string | number>>;
  };
  readonly response?: {
    readonly status: number;
    readonly reason: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: unknown;
    readonly text?: string;
  };
}

let known: readonly Step[] | null = null;

/** Every step with a request and an answer, in order of transcript and step. */
export function readSteps(): readonly Step[] {
  known ??= readFolder();
  return known;
}

function readFolder(): readonly Step[] {
  const steps: Step[] = [];
  for (const file of readdirSync(FOLDER).sort()) {
    const recorded: { steps: RawStep[] } = JSON.parse(readFileSync(join(FOLDER, file), 'utf8'));
    for (const { auth, request, response } of recorded.steps) {
      if (request === undefined || response === undefined) continue;
      const { status, reason, headers, body, text } = response;
      steps.push({
        transcript: file.replace(/\.json$/, ''),
        auth: auth ?? '',
        method: request.method,
        path: request.path,
        query: request.query ?? {},
        sent: request.form ?? request.json ?? {},
        status,
        reason,
        contentType: headers?.['content-type'] ?? '',
        text: body === undefined ? (text ?? '') : JSON.stringify(body),
        body,
      });
    }
  }
  return steps;
}
