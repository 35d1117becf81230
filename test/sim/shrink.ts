/** Makes a failing script short: leaves out whatever it fails without. */
import type { Script } from './script.ts';
import { runScript } from './simulation.ts';
import type { CheckName } from './verdicts.ts';

/** The shortest script found in which the same check fails; `onTry` says how long it is by now. */
export async function shrink(
  script: Script,
  check: CheckName,
  onTry: (events: number) => void = () => undefined,
): Promise<Script> {
  let best = script;
  const tries = async (candidate: Script): Promise<boolean> => {
    const { violations } = await runScript(candidate);
    if (!violations.some((violation) => violation.check === check)) return false;
    best = candidate;
    onTry(candidate.events.length);
    return true;
  };
  // Halves first, then ever smaller parts, down to single events; then guests and wishes.
  for (let size = Math.ceil(best.events.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let start = 0; start < best.events.length; ) {
      const events = best.events.toSpliced(start, size);
      if (!(await tries({ ...best, events }))) start += size;
    }
  }
  for (const { vmid } of best.guests) {
    const isNamed = best.events.some((event) => 'vmid' in event && event.vmid === vmid);
    const guests = best.guests.filter((guest) => guest.vmid !== vmid);
    const wishes = best.wishes.filter((wish) => wish.vmid !== vmid);
    if (!isNamed && guests.length > 0) await tries({ ...best, guests, wishes });
  }
  for (const { vmid } of best.wishes) {
    await tries({ ...best, wishes: best.wishes.filter((wish) => wish.vmid !== vmid) });
  }
  return best;
}
