/** `guest hold|resume REF`, `pause`, `resume`: who is left alone, and for how long. */
import { type CommandContext, printJson } from '../command-line/command.ts';
import { readDuration } from '../command-line/duration-option.ts';
import { API } from '../control/api.ts';
import { claimedActor, requireAgent } from '../control/find-agent.ts';
import type { GuestView } from '../control/guest-view.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { printable } from '../terminal/terminal.ts';

interface For {
  readonly for?: string;
}

/** Throws a usage error, before anything is asked of the agent. */
function bodyOf(options: For): { readonly for?: string; readonly actor?: string } {
  if (options.for !== undefined) readDuration('--for', options.for);
  return { ...options, ...claimedActor(process.env) };
}

export async function runGuestHold(
  context: CommandContext,
  { ref, ...options }: For & { readonly ref: string },
): Promise<ExitCode> {
  const body = bodyOf(options);
  await using agent = await requireAgent(context);
  const guest = await agent.call(API.holdGuest, { params: { ref }, body });
  if (context.isJson) printJson(context.terminal, guest);
  else context.terminal.out.line(`${label(guest)} is on hold ${untilText(guest.hold?.until)}`);
  return EXIT.ok;
}

export async function runGuestResume(
  context: CommandContext,
  { ref }: { readonly ref: string },
): Promise<ExitCode> {
  await using agent = await requireAgent(context);
  const guest = await agent.call(API.resumeGuest, { params: { ref }, body: bodyOf({}) });
  if (context.isJson) printJson(context.terminal, guest);
  else context.terminal.out.line(`${label(guest)} ${resumedText(guest)}`);
  return EXIT.ok;
}

export async function runPause(context: CommandContext, options: For): Promise<ExitCode> {
  const body = bodyOf(options);
  await using agent = await requireAgent(context);
  const pause = await agent.call(API.pause, { body });
  if (context.isJson) printJson(context.terminal, pause);
  else context.terminal.out.line(`reconciling is paused ${untilText(pause.until)}`);
  return EXIT.ok;
}

export async function runResume(context: CommandContext): Promise<ExitCode> {
  await using agent = await requireAgent(context);
  const pause = await agent.call(API.resume, { body: bodyOf({}) });
  if (context.isJson) printJson(context.terminal, pause);
  else context.terminal.out.line('reconciling goes on');
  return EXIT.ok;
}

function resumedText({ desired }: Pick<GuestView, 'desired'>): string {
  if (desired === null) return 'is in no document: nothing is reconciled of it';
  return desired.mode === 'enforce'
    ? 'is reconciled again'
    : `is on hold no more; its mode is ${desired.mode}`;
}

function untilText(until: string | null | undefined): string {
  return until === null || until === undefined ? 'until it is resumed' : `until ${until}`;
}

function label({ vmid, name }: { readonly vmid: number; readonly name: string | null }): string {
  return name === null ? `guest ${vmid}` : `guest ${vmid} (${printable(name)})`;
}
