/**
 * What an agent needs to take signed ops, put together: the signers, the clock guard, the authority
 * the engine asks, and the intake once there is an engine. With or without a hub.
 */
import type { Journal } from '../../journal/journal.ts';
import type { Clock } from '../../reconcile/clock.ts';
import type { Engine } from '../../reconcile/engine.ts';
import type { Problem } from '../../reconcile/errors.ts';
import { toProblem } from '../../reconcile/errors.ts';
import type { Authority, ValueSemantics } from '../../reconcile/ports.ts';
import { type Config, changedSettings, loadConfig } from '../config/config.ts';
import { createAuthority } from './authority.ts';
import { createClockGuard } from './clock-guard.ts';
import { type AcceptEnvelope, createIntake, keyMemoryOf } from './intake.ts';
import { loadSigners, ReloadableSigners } from './signers.ts';

export interface SignedOps {
  /** For the engine: asked again at every turn of a lane. */
  readonly authority: Authority;
  /** The way in, for `POST /v1/ops` and the hub's stream alike. */
  intake(engine: Pick<Engine, 'submit'>): AcceptEnvelope;
  /** On SIGHUP: reads config.yaml's `signers` and their keys again. */
  reload(): Promise<Reloaded>;
  /** Why signed ops are refused, or some signers are not in force; for readiness. */
  problems(): readonly (Problem & { readonly hint?: string })[];
}

export interface Reloaded {
  readonly problems: readonly Problem[];
  /** Settings that are others than at the start, and stay as they were until the next one. */
  readonly notTaken: readonly string[];
}

/** Throws `config_invalid` for a signer that is not as it should be. */
export async function openSignedOps({
  config,
  journal,
  clock,
  semantics,
}: {
  readonly config: Config;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly semantics: Pick<ValueSemantics, 'classify'>;
}): Promise<SignedOps> {
  const signers = new ReloadableSigners(config, await loadSigners(config));
  const clockGuard = createClockGuard({ clock, lastRecordAtMs: journal.lastAtMsBefore });
  return {
    authority: createAuthority({ clock, clockGuard, signers, semantics, policy: config.policy }),
    intake: (engine) =>
      createIntake({
        agent: config.agent,
        clock,
        clockGuard,
        signers,
        hashPayload: (text) => journal.ledger.hashSecret(text),
        keys: keyMemoryOf(journal),
        submit: (request) => engine.submit(request),
      }),
    async reload() {
      let read = config;
      const problems = await signers.reload(async () => {
        read = await loadConfig(config.file);
        return read;
      });
      const notTaken = changedSettings(config, read).filter((key) => key !== 'signers');
      return { problems: problems.map(toProblem), notTaken };
    },
    problems() {
      const objection = clockGuard.objection();
      return [...(objection === null ? [] : [objection]), ...signers.problems().map(toProblem)];
    },
  };
}
