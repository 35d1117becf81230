/** The commands for setting an agent up on its host: names, options and help. */
import type { Command } from 'commander';
import type { Run } from './command-line.ts';

export function addHostCommands(program: Command, run: Run): void {
  program
    .command('doctor')
    .description('check everything the agent needs, and say how to mend what is wrong')
    .action(
      run(async (context) => {
        const { runDoctor } = await import('./commands/doctor.ts');
        return runDoctor(context);
      }),
    );
}
