/** `doctor`: looks at everything the agent needs; says what is wrong and how to mend it. */
import { type CommandContext, printJson } from '../command-line/command.ts';
import { examine } from '../doctor/examine.ts';
import type { Finding, Level } from '../doctor/finding.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import { counted } from '../terminal/counted.ts';
import { type Channel, type Colour, printable } from '../terminal/terminal.ts';

const COLOURS: Readonly<Record<Level, Colour>> = { ok: 'green', warning: 'yellow', error: 'red' };
const LEVEL_WIDTH = 'warning'.length;
const CHECK_WIDTH = 'control_socket'.length;

export async function runDoctor(context: CommandContext): Promise<ExitCode> {
  const { terminal, isJson, configFile, signal } = context;
  const findings = await examine(configFile, signal);
  const count = (level: Level): number => findings.filter((each) => each.level === level).length;
  const errors = count('error');
  if (isJson) {
    const counts = { ok: count('ok'), warnings: count('warning'), errors };
    printJson(terminal, { healthy: errors === 0, ...counts, findings });
  } else {
    for (const finding of findings) printFinding(terminal.out, finding);
    const worse = [counted(errors, 'error'), counted(count('warning'), 'warning')];
    terminal.out.line([...worse, `${count('ok')} ok`].join(', '));
  }
  return errors === 0 ? EXIT.ok : EXIT.failed;
}

function printFinding(out: Channel, { check, level, message, means, fix }: Finding): void {
  const indent = ' '.repeat(LEVEL_WIDTH + CHECK_WIDTH + 4);
  const label = out.paint(COLOURS[level], level.padEnd(LEVEL_WIDTH));
  const [first = '', ...more] = message.split('\n');
  out.line(`${label}  ${check.padEnd(CHECK_WIDTH)}  ${printable(first)}`);
  for (const line of more) out.line(`${indent}${printable(line)}`);
  if (means !== null) out.line(`${indent}${printable(means)}`);
  if (fix !== null) out.line(`${indent}${out.paint('cyan', 'fix:')} ${printable(fix)}`);
}
