/** `journal verify`: every record that is still there. Takes no lock and changes nothing. */
import { openReader } from '../../journal/reader.ts';
import { type JournalProblem, verifyJournal } from '../../journal/verify.ts';
import { type CommandContext, printFailure, printJson } from '../command-line/command.ts';
import { loadConfig } from '../config/config.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { counted } from '../terminal/counted.ts';
import { printable } from '../terminal/terminal.ts';

export async function runJournalVerify({
  terminal,
  isJson,
  configFile,
}: CommandContext): Promise<ExitCode> {
  const { stateDir } = await loadConfig(configFile);
  const report = await verifyJournal(openReader(stateDir));
  if (isJson) {
    printJson(terminal, report);
  } else {
    for (const notice of report.notices) terminal.err.line(`note: ${printable(text(notice))}`);
    const { segments, records } = report;
    const what = `${counted(records, 'record')} in ${counted(segments, 'segment')}`;
    if (report.ok) terminal.out.line(segments === 0 ? 'no journal yet' : `sound: ${what}`);
  }
  if (report.ok) return EXIT.ok;
  const message = report.problems.map(text).join('\n');
  return printFailure(terminal, { code: 'journal_corrupt', message });
}

function text({ segment, line, rule, message }: JournalProblem): string {
  return `${segment}${line === 0 ? '' : `:${line}`} ${rule}: ${message}`;
}
