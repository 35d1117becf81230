/** The commands that talk to the running agent, and shell completion: names, options and help. */
import type { Command } from 'commander';
import type { GuestCommandOptions } from '../commands/guest.ts';
import type { Run } from './command.ts';
import { examples } from './help-text.ts';

export function addAgentCommands(program: Command, run: Run): void {
  addGuestCommands(program, run);
  addPauseCommands(program, run);
  addOpCommands(program, run);
  addCompletion(program, run);
}

const HOLD = 'reconciling leaves it alone for so long (1h)';

function addGuestCommands(program: Command, run: Run): void {
  const guest = program.command('guest').description('one guest, through the running agent');
  for (const kind of ['start', 'stop', 'restart'] as const) {
    const command = guest
      .command(`${kind} <ref>`)
      .description(`${kind} a guest: an op in the journal, whatever asked for it`)
      .option('--hold <duration>', `then ${HOLD}`)
      .option('--wait', 'watch it to its end; exit 1 if it failed')
      .action(
        run(async (context, ref: string, options: GuestCommandOptions) => {
          const { runGuestOp } = await import('../commands/guest.ts');
          return runGuestOp(context, { kind, ref, ...options });
        }),
      );
    if (kind === 'start') continue;
    command
      .option('--hard', 'cut the power instead of asking the guest')
      .option('--timeout <duration>', 'how long a shutdown may take (60s)');
  }
  guest
    .command('hold <ref>')
    .description('keep reconciling away from a guest')
    .option('--for <duration>', 'for so long (1h); without it until `guest resume`')
    .action(
      run(async (context, ref: string, options: { for?: string }) => {
        const { runGuestHold } = await import('../commands/hold.ts');
        return runGuestHold(context, { ref, ...options });
      }),
    );
  guest
    .command('resume <ref>')
    .description('end its hold, and forget its failures')
    .action(
      run(async (context, ref: string) => {
        const { runGuestResume } = await import('../commands/hold.ts');
        return runGuestResume(context, { ref });
      }),
    );
  guest.addHelpText(
    'after',
    examples('guest stop web --hold 1h --wait', 'guest hold 101 --for 30m'),
  );
}

function addPauseCommands(program: Command, run: Run): void {
  program
    .command('pause')
    .description('stop reconciling; operators and signatures still act')
    .option('--for <duration>', 'for so long (1h); without it until `resume`')
    .addHelpText('after', examples('pause --for 2h'))
    .action(
      run(async (context, options: { for?: string }) => {
        const { runPause } = await import('../commands/hold.ts');
        return runPause(context, options);
      }),
    );
  program
    .command('resume')
    .description('go on reconciling')
    .action(
      run(async (context) => {
        const { runResume } = await import('../commands/hold.ts');
        return runResume(context);
      }),
    );
}

function addOpCommands(program: Command, run: Run): void {
  const ops = program.commands.find((each) => each.name() === 'ops') ?? program.command('ops');
  ops
    .command('wait <id>')
    .description('watch an op to its end; exit 1 if it failed')
    .addHelpText('after', examples('ops wait 7k2m'))
    .action(
      run(async (context, id: string) => {
        const { runOpsWait } = await import('../commands/ops-wait.ts');
        return runOpsWait(context, { id });
      }),
    );
  ops
    .command('log <id>')
    .description("an op's steps, with the time between them")
    .option('--follow', 'and those that come, until it ends')
    .addHelpText('after', examples('ops log 7k2m --follow'))
    .action(
      run(async (context, id: string, options: { follow?: boolean }) => {
        const { runOpsLog } = await import('../commands/ops-log.ts');
        return runOpsLog(context, { id, ...options });
      }),
    );
  ops
    .command('cancel <id>')
    .description('end an op that has not begun; nothing is stopped in PVE')
    .action(
      run(async (context, id: string) => {
        const { runOpsCancel } = await import('../commands/ops-cancel.ts');
        return runOpsCancel(context, { id });
      }),
    );
}

function addCompletion(program: Command, run: Run): void {
  program
    .command('completion <shell>')
    .description('print the completion for bash or zsh')
    .addHelpText('after', '\nExample:\n  source <(pve-reconciler completion bash)')
    .action(
      run(async (context, shell: string) => {
        const { runCompletion } = await import('../commands/completion.ts');
        return runCompletion(context, shell);
      }),
    );
  program.command('complete [words...]', { hidden: true }).action(
    run(async (context, words: string[]) => {
      const { runComplete } = await import('../commands/completion.ts');
      return runComplete(context, { program, words });
    }),
  );
}
