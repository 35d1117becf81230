/**
 * Every recording of a real node is replayed step by step against the simulator: status, reason
 * phrase, headers, and every field's value unless it is a time, a pid, an id or a load. What is
 * left out is listed with its reason in replay-plans.ts.
 */
import { describe, expect, it } from 'vitest';
import { PLANS } from './replay-plans.ts';
import { Replay } from './replay-run.ts';
import { readTranscript, transcriptNames } from './replay-transcript.ts';

describe('the simulator says what the recorded node said', () => {
  it.each(transcriptNames())('%s', async (name) => {
    const plan = PLANS[name];
    if (plan === undefined) throw new Error(`no plan for ${name}`);
    const transcript = readTranscript(name);
    const replay = await Replay.open(transcript, plan);
    try {
      await replay.run(transcript, plan);
    } finally {
      await replay.close();
    }
    expect(replay.differences).toEqual([]);
  });

  it('has a plan for nothing but recordings', () => {
    expect(Object.keys(PLANS).sort()).toEqual(transcriptNames());
  });
});
