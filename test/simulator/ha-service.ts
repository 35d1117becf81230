/** What the CRM keeps of one HA service, and what the LRM reports of it. */
import { randomBytes } from 'node:crypto';

export interface Service {
  /** The CRM's word: started, request_stop, stopped, freeze, error, or one forced from outside. */
  readonly state: string;
  /** Renewed with every decision; the LRM's results name it. */
  readonly uid: string;
  readonly timeout: string | null;
  readonly isRunning: boolean;
  /** The last stop command, `["stop", seconds]`. */
  readonly cmd: readonly [string, string] | null;
  /** How often starting it failed beyond the LRM's own tries. */
  readonly failures: number;
}

export interface LrmResult {
  readonly sid: string;
  readonly state: string;
  readonly exitCode: number;
}

export function newUid(): string {
  return randomBytes(16).toString('base64').slice(0, 22);
}

export function newService(state: string): Service {
  return { state, uid: newUid(), timeout: null, isRunning: false, cmd: null, failures: 0 };
}
