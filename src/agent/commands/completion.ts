/**
 * `completion SHELL` prints what a shell has to source; it then asks the hidden `complete` for
 * candidates. Names of guests are somebody else's: only what no shell could take for anything else
 * is offered, and no shell evaluates it.
 */
import type { Command } from 'commander';
import { openReader } from '../../journal/reader.ts';
import { type CommandContext, usageError } from '../command-line/command.ts';
import { loadConfig } from '../config/config.ts';
import { API } from '../control/api.ts';
import { findAgent } from '../control/find-agent.ts';
import { EXIT, type ExitCode } from '../errors.ts';

const BASH = `_pve_reconciler() {
  mapfile -t COMPREPLY < <(
    pve-reconciler complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null
  )
}
complete -o default -F _pve_reconciler pve-reconciler`;

const ZSH = `#compdef pve-reconciler
_pve_reconciler() {
  local -a candidates
  candidates=("\${(@f)$(pve-reconciler complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -a candidates
}
compdef _pve_reconciler pve-reconciler`;

const SAFE = /^[A-Za-z0-9._-]+$/;
/** More is no choice but a list. */
const OPS_OFFERED_MAX = 50;

export async function runCompletion(
  { terminal }: CommandContext,
  shell: string,
): Promise<ExitCode> {
  if (shell !== 'bash' && shell !== 'zsh') throw usageError(`expected bash or zsh, not ${shell}`);
  terminal.out.line(shell === 'bash' ? BASH : ZSH);
  return EXIT.ok;
}

/** One candidate a line; whatever goes wrong is no candidate. */
export async function runComplete(
  context: CommandContext,
  { program, words }: { readonly program: Command; readonly words: readonly string[] },
): Promise<ExitCode> {
  const typed = words.at(-1) ?? '';
  const { command, position } = findCommand(program, words.slice(0, -1));
  const configFile = valueOf(words, '--config') ?? context.configFile;
  const candidates = await offer({ command, position, typed, configFile }).catch(() => []);
  const fitting = candidates.filter((each) => SAFE.test(each) && each.startsWith(typed));
  for (const each of [...new Set(fitting)].sort()) context.terminal.out.line(each);
  return EXIT.ok;
}

interface Place {
  readonly command: Command;
  /** Which of its arguments is being typed. */
  readonly position: number;
}

function findCommand(program: Command, words: readonly string[]): Place {
  let command = program;
  let position = 0;
  let isValue = false;
  for (const word of words) {
    if (isValue) {
      isValue = false;
    } else if (word.startsWith('-')) {
      isValue = [...command.options, ...program.options].some(
        ({ long, required }) => long === word && required,
      );
    } else {
      const next = command.commands.find((each) => each.name() === word);
      if (next === undefined) position += 1;
      else command = next;
    }
  }
  return { command, position };
}

async function offer({
  command,
  position,
  typed,
  configFile,
}: Place & { readonly typed: string; readonly configFile: string }): Promise<readonly string[]> {
  if (typed.startsWith('-')) {
    return command
      .createHelp()
      .visibleOptions(command)
      .flatMap(({ long }) => long ?? []);
  }
  if (command.commands.length > 0) {
    const help = command.createHelp();
    return help.visibleCommands(command).map((each) => each.name());
  }
  const argument = command.registeredArguments.at(position) ?? command.registeredArguments.at(-1);
  const name = argument?.name();
  if (name === 'shell') return ['bash', 'zsh'];
  if (name === 'id') return offerOps(configFile);
  return name === 'ref' || name === 'refs' ? offerGuests(configFile) : [];
}

async function offerOps(configFile: string): Promise<readonly string[]> {
  const { stateDir } = await loadConfig(configFile);
  const ops = await openReader(stateDir).listOps({ limit: OPS_OFFERED_MAX });
  return ops.map(({ op_id }) => op_id);
}

async function offerGuests(configFile: string): Promise<readonly string[]> {
  const { control } = await loadConfig(configFile);
  const agent = await findAgent(control.socket);
  if (agent === null) return [];
  await using asked = agent;
  const { guests } = await asked.call(API.listGuests);
  return guests.flatMap(({ vmid, name }) => [`${vmid}`, ...(name === null ? [] : [name])]);
}

function valueOf(words: readonly string[], option: string): string | undefined {
  const at = words.indexOf(option);
  return at === -1 ? undefined : words[at + 1];
}
