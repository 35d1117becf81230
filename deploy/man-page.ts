/**
 * pve-reconciler(1), made from the commands themselves: names, arguments, options and descriptions
 * are those of `--help`, so the page cannot fall behind. pve-reconciler(5) is the example of the
 * configuration, which has every setting and its default.
 */
import type { Command, Option } from 'commander';
import { createProgram } from '../src/agent/command-line/command-line.ts';
import { createTerminal } from '../src/agent/terminal/terminal.ts';

export function manPage(version: string, date: string): string {
  const terminal = createTerminal({ out: process.stdout, err: process.stderr }, {});
  const program = createProgram({ terminal, run: () => async () => undefined });
  return [
    `.TH PVE\\-RECONCILER 1 "${date}" "pve\\-reconciler ${version}" "Proxmox VE"`,
    '.SH NAME',
    'pve\\-reconciler \\- keeps the guests of a Proxmox VE host in their desired state',
    '.SH SYNOPSIS',
    '.B pve\\-reconciler',
    '[\\-\\-config FILE] [\\-\\-json] COMMAND [ARGUMENT...]',
    '.SH OPTIONS',
    ...program.options.flatMap(optionLines),
    '.SH COMMANDS',
    ...program.commands.flatMap((command) => commandLines(command, '')),
    '.SH EXIT STATUS',
    '0 ok, 1 the work failed, 2 the plan differs, 64 usage, 65 bad input data, 69 PVE or the agent is',
    'unreachable, 70 halted, 75 try again, 77 permission, 78 configuration.',
    '.SH FILES',
    '.TP',
    '.I /etc/pve\\-reconciler/config.yaml',
    'the configuration; an example is in /usr/share/doc/pve\\-reconciler/examples',
    '.TP',
    '.I /etc/pve\\-reconciler/desired.d',
    'desired state',
    '.TP',
    '.I /var/lib/pve\\-reconciler',
    'the journal; kept until the package is purged',
    '.SH SEE ALSO',
    '.BR pve\\-reconciler (5),',
    '.BR systemctl (1),',
    '.BR pveum (1)',
    '',
  ].join('\n');
}

export function configPage(version: string, date: string, example: string): string {
  return [
    `.TH PVE\\-RECONCILER 5 "${date}" "pve\\-reconciler ${version}" "Proxmox VE"`,
    '.SH NAME',
    'pve\\-reconciler \\- configuration of pve\\-reconciler (1)',
    '.SH DESCRIPTION',
    '.I /etc/pve\\-reconciler/config.yaml',
    'is YAML. An unknown key is an error; paths are relative to the folder of the file. Durations are',
    'written 500ms, 30s, 5m, 1h, 90d, sizes 4KiB, 16MiB. Changes take effect when the agent is started',
    'again; the public keys of signers are read again on a reload.',
    '.SH SETTINGS',
    '.nf',
    ...example.trimEnd().split('\n').map(roff),
    '.fi',
    '.SH SEE ALSO',
    '.BR pve\\-reconciler (1)',
    '',
  ].join('\n');
}

function commandLines(command: Command, prefix: string): string[] {
  const name = `${prefix}${command.name()}`;
  if (command.commands.length > 0) {
    return command.commands.flatMap((inner) => commandLines(inner, `${name} `));
  }
  const usage = [name, ...command.registeredArguments.map(argumentText)].join(' ');
  return [
    '.TP',
    `.B ${roff(usage)}`,
    roff(command.description()),
    ...(command.options.length === 0
      ? []
      : ['.RS', ...command.options.flatMap(optionLines), '.RE']),
  ];
}

function argumentText(argument: Command['registeredArguments'][number]): string {
  const text = `${argument.name().toUpperCase()}${argument.variadic ? '...' : ''}`;
  return argument.required ? text : `[${text}]`;
}

function optionLines({ flags, description }: Option): string[] {
  return ['.TP', `.B ${roff(flags)}`, roff(description)];
}

/** A line that begins with a dot or a quote would be a request. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/, '\\&');
}
