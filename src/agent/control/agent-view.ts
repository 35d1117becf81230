/** The agent as `GET /v1/agent` shows it. */

import { unlessOver } from '../../reconcile/hold.ts';
import { timeText } from '../time-text.ts';
import type { PassEvent } from './pass-runner.ts';
import type { ControlPorts } from './ports.ts';

type AgentPorts = Pick<
  ControlPorts,
  'clock' | 'agent' | 'node' | 'version' | 'startedAtMs' | 'mode' | 'ledger' | 'readiness' | 'parts'
>;

export function describeAgent(ports: AgentPorts, lastPass: PassEvent | null): object {
  const { agent, node, version, mode } = ports;
  const reasons = ports.readiness().map(({ code, message, hint }) => ({
    code,
    message,
    ...(hint === undefined ? {} : { hint }),
  }));
  return {
    agent,
    node,
    version,
    now: new Date(ports.clock.now()).toISOString(),
    started_at: new Date(ports.startedAtMs).toISOString(),
    mode,
    pause: pauseOf(ports),
    readiness: { ready: reasons.length === 0, reasons },
    last_pass: lastPass === null ? null : passOf(lastPass),
    parts: ports.parts(),
  };
}

function passOf({ pass_id, at, duration_ms, summary }: PassEvent): object {
  return { pass_id, at, duration_ms, summary };
}

export function pauseOf({ ledger, clock }: Pick<ControlPorts, 'ledger' | 'clock'>): object {
  const pause = unlessOver(ledger.pause(), clock.now());
  if (pause === null) return { paused: false, until: null, reason: null };
  const { untilMs, reason } = pause;
  return {
    paused: true,
    until: untilMs === null ? null : timeText(untilMs),
    reason,
  };
}
