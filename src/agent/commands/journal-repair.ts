/**
 * `journal repair`: puts a repaired copy in the journal's place and keeps the original beside it.
 * Takes the journal's lock: a running agent must be stopped first.
 */
import type { LostFact } from '../../journal/losses.ts';
import { type RepairReport, repairJournal } from '../../journal/repair.ts';
import type { SalvageReport } from '../../journal/salvage.ts';
import { type CommandContext, printJson } from '../command-line/command.ts';
import { loadConfig } from '../config/config.ts';
import { actAsOwner } from '../daemon/state-owner.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { systemClock } from '../system.ts';
import { printable, type Terminal } from '../terminal/terminal.ts';
import { timeText } from '../time-text.ts';

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
  const { original, kept, leftOut, ended, mayBeLost, pause, keysLostToMs } = report;
  return {
    repaired: true,
    original,
    kept,
    left_out: leftOut,
    ended,
    may_be_lost: mayBeLost,
    paused: pause !== null,
    refused_to: keysLostToMs === null ? null : timeText(keysLostToMs),
  };
}

function describe(report: RepairReport, terminal: Terminal): void {
  const { out } = terminal;
  if (report.kind === 'sound') {
    out.line('sound: there is nothing to repair');
    return;
  }
  const { original, kept, leftOut, ended } = report;
  out.line(`repaired: ${kept} records kept; the original is in ${printable(original)}`);
  for (const { segment, line, why } of leftOut) {
    out.line(`left out  ${segment}${line === 0 ? '' : `:${line}`}  ${printable(why)}`);
  }
  for (const opId of ended) out.line(`ended     op ${opId}, whose records had gone`);
  for (const line of describeLosses(report)) out.line(line);
}

const WHAT: Readonly<Record<LostFact, string>> = {
  hold: 'holds of guests',
  pause: 'a pause',
  initial_done: 'which guests have had their initial start',
  key: 'idempotency keys',
  op: 'ops, or steps of them',
};

/** What may be gone, what was done about it, and what is left to do. */
function describeLosses({ mayBeLost, pause, keysLostToMs }: SalvageReport): readonly string[] {
  if (mayBeLost.length === 0) return ['lost      nothing but history'];
  const lines = [`may be lost: ${mayBeLost.map((fact) => WHAT[fact]).join('; ')}`];
  if (keysLostToMs !== null) {
    const time = timeText(keysLostToMs);
    lines.push(`refused   signed ops of before ${time} whose key is not known; sign them anew`);
  }
  if (pause !== null) {
    lines.push('paused    all reconciling, until `pve-reconciler resume`: before it, look at');
    lines.push('          `pve-reconciler plan` and put guests on hold again (`guest hold REF`)');
  }
  return lines;
}
