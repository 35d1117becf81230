/** The commands for setting an agent up on its host: names, options and help. */
import type { Command } from 'commander';
import type { AdoptCommandOptions } from '../commands/adopt.ts';
import type { SetupCommandOptions } from '../commands/setup.ts';
import type { Run } from './command.ts';

export function addHostCommands(program: Command, run: Run): void {
  program
    .command('doctor')
    .description('check everything the agent needs, and say how to mend what is wrong')
    .action(
      run(async (context) => {
        const { runDoctor } = await import('../commands/doctor.ts');
        return runDoctor(context);
      }),
    );
  program
    .command('adopt [refs...]')
    .description('write desired state from what is there now; a plan right after is empty')
    .option('--all', 'every guest that no document claims yet')
    .option('--to <file>', 'make or extend this document (default: print it)')
    .option('--observe', 'with `mode: observe`: nothing changes until the line is taken out')
    .action(
      run(async (context, refs: string[], options: Omit<AdoptCommandOptions, 'refs'>) => {
        const { runAdopt } = await import('../commands/adopt.ts');
        return runAdopt(context, { refs, ...options });
      }),
    );
  program
    .command('setup')
    .description('make what an agent needs on this PVE host: rights, token, configuration')
    .option('--print', 'only show what would be done')
    .option('--remove', 'take it all away again, but for the state folder')
    .option(
      '--node <name>',
      "PVE's name of this node (default: the configuration's, else the short hostname)",
    )
    .option('--url <url>', 'the API of this node', 'https://127.0.0.1:8006')
    .option('--ca <file>', "the cluster's own CA", '/etc/pve/pve-root-ca.pem')
    .option('--startup-order', "also what a change of a VM's startup order takes: Sys.Modify on /")
    .action(
      run(async (context, options: SetupCommandOptions) => {
        const { runSetup } = await import('../commands/setup.ts');
        return runSetup(context, options);
      }),
    );
}
