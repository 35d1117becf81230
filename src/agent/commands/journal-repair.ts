/**
 * `journal repair`: puts a repaired copy in the journal's place and keeps the original beside it.
 * Takes the journal's lock: a running agent must be stopped first.
 */
import { type RepairReport, repairJournal } from '../../journal/repair.ts';
import { type CommandContext, printJson } from '../command-line/command.ts';
import { loadConfig } from '../config/config.ts';
import { actAsOwner } from '../daemon/state-owner.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { systemClock } from '../system.ts';
import { printable, type Terminal } from '../terminal/terminal.ts';

export async function runJournalRepair({
  terminal,
  isJson,
  configFile,
}: CommandContext): Promise<ExitCode> {
  const { stateDir } = await loadConfig(configFile);
  actAsOwner(stateDir);
  const report = await repairJournal(stateDir, systemClock);
  if (isJson) printJson(terminal, reportDocument(report));
  else describe(report, terminal);
  return EXIT.ok;
}

function reportDocument(report: RepairReport): object {
  if (report.kind === 'sound') return { repaired: false };
  const { original, kept, leftOut, ended } = report;
  return { repaired: true, original, kept, left_out: leftOut, ended };
}

function describe(report: RepairReport, terminal: Terminal): void {
  if (report.kind === 'sound') {
    terminal.out.line('sound: there is nothing to repair');
    return;
  }
  const { original, kept, leftOut, ended } = report;
  terminal.out.line(`repaired: ${kept} records kept; the original is in ${printable(original)}`);
  for (const { segment, line, why } of leftOut) {
    terminal.out.line(`left out  ${segment}${line === 0 ? '' : `:${line}`}  ${printable(why)}`);
  }
  for (const opId of ended) terminal.out.line(`ended     op ${opId}, whose records had gone`);
}
