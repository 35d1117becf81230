/** A clock that is behind the journal: signed ops are refused, and readiness says why. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadConfig } from '../../../src/agent/config/config.ts';
import { openSignedOps } from '../../../src/agent/hub/signed-ops.ts';
import { plainSemantics } from '../../support/plain-semantics.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { bytesOf, makeKey, signBody, TestRing } from './signing.ts';
import { AGENT, SmallAgent } from './small-agent.ts';

const hub = makeKey('hub-1');

test.each<[string, boolean]>([
  ['while the agent runs', false],
  ['while it was down', true],
])('set back %s: refused until it has caught up', async (_name, isDown) => {
  const dir = mkdtempSync(join(tmpdir(), 'clock-behind-'));
  try {
    const pem = hub.publicKey.export({ type: 'spki', format: 'pem' });
    writeFileSync(join(dir, 'hub-1.pem'), pem, { mode: 0o644 });
    const allow = 'allow: { kinds: [start], vmids: "100-199" }';
    const signers = `signers:\n  - { keyid: hub-1, public_key_file: hub-1.pem, ${allow} }\n`;
    writeFileSync(join(dir, 'config.yaml'), `agent: ${AGENT}\n${signers}`);
    const config = await loadConfig(join(dir, 'config.yaml'));
    const clock = new VirtualClock();
    const agent = await SmallAgent.start(new TestRing([]), clock);
    const open = (): ReturnType<typeof openSignedOps> =>
      openSignedOps({ config, journal: agent.journal, clock, semantics: plainSemantics });
    let signedOps = await open();
    expect(signedOps.problems()).toEqual([]);
    clock.stepWall(-10 * 60_000);
    if (isDown) {
      await agent.restart();
      signedOps = await open();
    }
    const accept = signedOps.intake(agent.engine);
    const nowMs = clock.now();
    const op = {
      idemp_key: 'k',
      agent: AGENT,
      issued_at: new Date(nowMs).toISOString(),
      expires_at: new Date(nowMs + 3_600_000).toISOString(),
      kind: 'start',
      vmid: 101,
      params: {},
    };
    const envelope = bytesOf(signBody(JSON.stringify(op), [hub]));
    const why = {
      code: 'service_unavailable',
      message: expect.stringMatching(/^the clock is 600 s behind the journal/),
      hint: expect.stringContaining('`timedatectl`'),
    };
    expect(await accept(envelope)).toMatchObject({ kind: 'refused', ...why });
    expect(signedOps.problems()).toEqual([why]);
    clock.stepWall(9 * 60_000 + 1_000);
    expect(signedOps.problems()).toEqual([]);
    expect(await accept(envelope)).toMatchObject({ kind: 'accepted' });
    agent.kill();
  } finally {
    rmSync(dir, { recursive: true });
  }
});
